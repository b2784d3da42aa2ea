"""The generated parts of READMEs, see tools/dev/readme_blocks.py."""

import pytest
import readme_blocks
from facts import catalog


@pytest.mark.parametrize(
    ('entries', 'cell'),
    [
        ('AP 1.0 val a; mask 2.0 val a', '1.0, mask 2.0 (val; a)'),
        ('AP 1.0 val a; AP 1.0 val b', '1.0 (val; a and b)'),
        ('AP 1.0 val a; AP 2.0 test-dev a', '1.0 (val; a), 2.0 (test-dev; a)'),
        ('AP 1.0 val a; AP 2.0 val a TTA', '1.0 (val; a), 2.0 (val; a; TTA)'),
    ],
)
def test_published_numbers_of_one_place_stand_together(entries, cell):
    numbers = []
    for entry in entries.split('; '):
        metric, value, dataset, *rest = entry.split()
        metric = 'box AP' if metric == 'AP' else metric
        numbers.append(
            catalog.Published(metric, float(value), f'COCO {dataset}', *rest)
        )
    model = catalog.Model('a', 'a', published=tuple(numbers))
    assert readme_blocks.tables.published_text(model) == cell


def test_rows_without_numbers():
    model = catalog.Model('a', 'a')
    assert readme_blocks.tables.published_text(model) == ''
    model = catalog.Model('a', 'a', in_paper=False)
    assert readme_blocks.tables.published_text(model) == 'not in the paper'


@pytest.mark.parametrize(
    ('status', 'text'),
    [
        ('draft', 'generated, not written yet'),
        ('M0', 'reference cases pass'),
        (
            'M2',
            'reference cases pass; trains at small scale on real data; '
            'official weights convert, and the boxes are those that the '
            'official code writes, to 1e-3 px',
        ),
    ],
)
def test_status_says_what_was_reached(status, text):
    assert readme_blocks.status_text(status) == text
