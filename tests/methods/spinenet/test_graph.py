"""SpineNet's graph: the one edge without resampling, and what levels need."""

import pytest

from mmdet_assigners.methods.spinenet.graph import (
    BLOCKS,
    STEM,
    Block,
    extra_edges,
    nodes_of,
)


def test_one_extra_edge():
    assert extra_edges() == {14: [11]}


def test_extra_edges_of_another_graph():
    """Same level and type, and no connection yet; an output takes all."""
    blocks = [
        STEM,
        STEM,
        Block(4, True, (0, 1)),
        Block(4, True, (0, 1)),
        Block(4, False, (0, 1)),
        Block(3, True, (0, 1)),
        Block(4, True, (2, 0), is_output=True),
        Block(4, True, (0, 1), is_output=True),
    ]
    assert extra_edges(blocks) == {6: [3], 7: [6]}


def test_widths_are_cut_before_the_factor_4():
    narrow = [(b.filters(0.65), b.channels(0.65)) for b in BLOCKS[2:5]]
    assert narrow == [(41, 164), (166, 166), (83, 332)]
    assert [b.filters(1.3) for b in BLOCKS[2:5]] == [83, 332, 166]


@pytest.mark.parametrize(
    ('levels', 'missing'),
    [
        ((3, 4, 5, 6, 7), set()),
        ((3,), {11, 12, 14, 15, 16}),
        ((3, 4), {11, 14, 15, 16}),
        ((5, 4, 3), {15, 16}),
        ((6,), {13, 15}),
    ],
)
def test_nodes_of_levels(levels, missing):
    assert nodes_of(levels) == sorted(set(range(2, 17)) - missing)
