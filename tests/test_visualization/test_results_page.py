"""The page of results: valid, escaped, without requests."""

from html.parser import HTMLParser

import pytest

from mmdet_assigners.catalog import Reference
from mmdet_assigners.reproduction.report import Line, Measured, Section
from mmdet_assigners.reproduction.results import Result
from mmdet_assigners.visualization.line_chart import Series, line_chart
from mmdet_assigners.visualization.results_page import (
    Block,
    plain_table,
    results_page,
)

_VOID = {'meta', 'img'}
HOSTILE = '<script src="https://example.org/x">'


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.text = [], [], ''
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def trained(config='a', **changes):
    fields = dict(
        config=config, data='shapes', form='mini', seed=0, unit='epoch',
        epochs=2, last_epoch=2, metrics={'m/AP': 0.5}, per_class={config: 0.5},
        curve_epochs=[1, 2], curve={'m/AP': [None, 0.5]}, loss_steps=[1, 9],
        loss=[2.0, 1.0], seconds_per_iter=None, memory_mib=None,
        parameters=None, commands=[config], commit=config, versions={},
        hardware={'cpu': config}, work_dir=config,
    )  # fmt: skip
    return Result(**(fields | changes))


def section(*lines):
    sources = (
        Reference('A paper', 'https://example.org/paper'),
        Reference('Not a link', 'javascript:alert(1)'),
    )
    return Section('t', 'c', 'mini', 'shapes', 'm/AP', lines, sources)


def line(config='a', **changes):
    run = trained(config, **changes)
    return Line(
        config, config, config, results=(run,), ours=Measured({0: 50.0})
    )


@pytest.mark.parametrize('expanded', [False, True])
def test_names_are_escaped(expanded):
    blocks = [Block(HOSTILE, plain_table([HOSTILE], [[HOSTILE]], HOSTILE))]
    text = results_page(HOSTILE, [section(line(HOSTILE))], blocks, expanded)
    page = Page(text)
    assert page.all('script') == [{}]
    assert HOSTILE in page.text
    assert not any(
        name in attrs for _, attrs in page.found for name in ('src', 'onclick')
    )


def test_nothing_is_requested():
    page = Page(results_page('t', [section(line())], expanded=True))
    assert not page.all('link')
    assert [a['href'] for a in page.all('a')] == ['https://example.org/paper']
    assert 'url(' not in page.text
    assert '@import' not in page.text
    policy = next(m for m in page.all('meta') if 'http-equiv' in m)
    assert "default-src 'none'" in policy['content']


def test_rows_and_their_details():
    """A row that was not run has none."""
    page = Page(results_page('t', [section(line(), Line('b'))]))
    assert len(page.all('tbody')) == 2
    (more,) = (a for a in page.all('tr') if a.get('class') == 'more')
    (button,) = (b for b in page.all('button') if 'aria-controls' in b)
    assert button == {'aria-expanded': 'false', 'aria-controls': more['id']}
    assert 'hidden' in more
    assert [m['value'] for m in page.all('meter')] == ['0.500']
    assert [a['aria-label'] for a in page.all('svg') if 'role' in a] == [
        'm/AP over epoch', 'loss over step',
    ]  # fmt: skip


def test_curves_of_all_lines_together():
    lines = line('a'), line('b', curve={}, curve_epochs=[]), Line('c')
    page = Page(results_page('t', [section(*lines)], expanded=True))
    assert page.text.count('loss') >= 3
    legends = [a for a in page.all('ul') if a.get('class') == 'legend']
    # two of each of the two runs, though b has no curve, and two of both
    assert len(legends) == 5


def test_curves_of_two_lengths_have_different_names():
    longer = line('a', epochs=9, last_epoch=9)
    page = Page(results_page('t', [section(line(), longer)], expanded=True))
    assert 'a, 2 epochs' in page.text
    assert 'a, 9 epochs' in page.text


def test_chart():
    chart = line_chart(
        [
            Series('a', [0, 1, 2, 3], [0.0, 1.0, None, 0.5]),
            Series('b', [0, 3], [0.25, 0.25], mark=False),
        ],
        'epoch', 'AP',
    )  # fmt: skip
    page = Page(chart)
    lines = [p['points'] for p in page.all('polyline')]
    assert lines[:2] == ['52.0,220.0 214.0,12.0', '52.0,168.0 538.0,168.0']
    assert len(page.all('circle')) == 3
    assert 'a: 0.5 at 3' in page.text
    assert line_chart([Series('a', [1], [None])], 'x', 'y') == ''
    assert '<svg' in line_chart([Series('a', [7], [1.0])], 'x', 'y')


def test_more_lines_than_colors_are_dashed():
    series = [Series(str(i), [0, 1], [0.0, 1.0]) for i in range(9)]
    dashes = [
        p.get('stroke-dasharray')
        for p in Page(line_chart(series, 'x', 'y')).all('polyline')
    ]
    assert dashes[:9] == [None] * 8 + ['6 4']
