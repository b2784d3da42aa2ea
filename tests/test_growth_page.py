"""What the benchmark page says about growth, from rows with known times."""

import growth_figure
import growth_page
import pytest
from PIL import Image


def row(name, ours, peer):
    times = dict(ours_s=ours, peer_s=peer)
    ratio = peer / ours
    return dict(name=name, **times, ratio=ratio, ratio_max=1.1 * ratio)


def rows(power):
    """Losses that grow with size^power and ^1; prediction alike."""
    found = [
        row(f'fcos loss P=50 G={g} B=1', 0.1 * g**power, 0.2 * g)
        for g in (1, 10, 100)
    ]
    found.append(row('fcos loss P=500 G=10 B=1', 10**power, 20))
    return found + [
        row(f'fcos predict P=50 classes={c} B=1', 0.01 * c, 0.01 * c)
        for c in (80, 365)
    ]


def test_exponents():
    found = growth_page.curves(rows(0.5))
    assert list(found) == [('fcos', 'G'), ('fcos', 'P'), ('fcos', 'classes')]
    points = found['fcos', 'G']
    assert [size for size, _ in points] == [1, 10, 100]
    assert growth_page.exponent(points, 'ours_s') == pytest.approx(0.5)
    assert growth_page.exponent(points, 'peer_s') == pytest.approx(1)
    # the row at 10 objects belongs to both axes
    assert [size for size, _ in found['fcos', 'P']] == [50, 500]


def listed(content):
    return [x for x in growth_page.lines(content) if x.startswith('| fcos')]


def test_slow_growth_is_not_listed():
    assert listed(rows(0.5)) == []


def test_growth_needs_a_reason(monkeypatch):
    monkeypatch.setitem(growth_page.SLOWER_BECAUSE, 'fcos', 'of a test')
    with pytest.raises(ValueError, match='fcos grows faster with objects'):
        listed(rows(1.5))
    monkeypatch.setitem(growth_page.REASONS, ('fcos', 'G'), 'of a test')
    *_, line = listed(rows(1.5))
    assert line == '| fcos | objects | 1.50 | 1.00 | 0.20 | of a test |'


def test_faster_all_the_same():
    """Twice as fast, and 1.6 times at 100 objects."""
    (line,) = listed(rows(1.12)[:3])
    assert line.endswith('| faster at all sizes, most where they are small |')


def test_noise_is_no_growth():
    content = rows(1.0)[:3]
    content[-1].update(ours_s=21, ratio=20 / 21, ratio_max=1.01)
    (line,) = listed(content)
    assert line.endswith('| 0.95 | the same within the spread at the end |')


def test_figure():
    figure = growth_figure.draw(rows(1.0))
    lines = [line for ax in figure.axes for line in ax.lines]
    assert len(lines) == 6
    assert list(lines[1].get_ydata()) == pytest.approx([0.2, 2, 20])


def test_the_figure_is_of_the_committed_rows():
    """If not: python tools/dev/growth_figure.py."""
    found = Image.open(growth_figure.IMAGE).info['Comment']
    assert found == growth_figure.digest()


def test_slower_heads_need_a_reason(monkeypatch):
    slow = [row(f'fcos loss P=50 G={g} B=1', 4 * g, 3 * g) for g in (1, 9)]
    slow.append(row('fcos loss P=50 G=90 B=1', 4, 2))
    with pytest.raises(ValueError, match='fcos is slower'):
        list(growth_page.slower(slow))
    monkeypatch.setitem(growth_page.SLOWER_BECAUSE, 'fcos', 'of a test')
    *_, line, end = growth_page.slower(slow)
    expected = '| fcos | loss | 3 | 0.50 at P=50 G=90 | of a test |'
    assert (line, end) == (expected, '')
    assert len(list(growth_page.slower(rows(1.0)))) == 4
