"""The scale-permuted graph of SpineNet, and the sizes of its family."""

from collections.abc import Sequence
from typing import NamedTuple

MIN_LEVEL = 3
MAX_LEVEL = 7
FILTERS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}  # by level


class Block(NamedTuple):
    """A node of the graph.

    Attributes:
        level: Its maps have stride ``2**level``.
        bottleneck: Bottleneck blocks, otherwise basic ones.
        parents: The two nodes that it merges.
        is_output: Its maps are an output.
    """

    level: int
    bottleneck: bool
    parents: tuple[int, int]
    is_output: bool = False

    def filters(self, width: float) -> int:
        """Channels inside of its blocks, of a network of this width."""
        return int(FILTERS[self.level] * width)

    def channels(self, width: float) -> int:
        """Channels of its output."""
        return self.filters(width) * (4 if self.bottleneck else 1)


# Nodes 0 and 1 are the bottlenecks of the stem.
STEM = Block(2, True, (-1, -1))
BLOCKS = (
    STEM,
    STEM,
    Block(2, True, (0, 1)),
    Block(4, False, (0, 1)),
    Block(3, True, (2, 3)),
    Block(4, True, (2, 4)),
    Block(6, False, (3, 5)),
    Block(4, True, (3, 5)),
    Block(5, False, (6, 7)),
    Block(7, False, (6, 8)),
    Block(5, True, (8, 9)),
    Block(5, True, (8, 10)),
    Block(4, True, (5, 10), is_output=True),
    Block(3, True, (4, 10), is_output=True),
    Block(5, True, (7, 12), is_output=True),
    Block(7, True, (5, 14), is_output=True),
    Block(6, True, (12, 14), is_output=True),
)


class Arch(NamedTuple):
    """A member of the family.

    Attributes:
        width: Factor of the filters of all nodes.
        repeats: Blocks per node.
        alpha: Factor of the filters of a parent in its resampling.
        out_channels: Channels of the outputs.
        sync_bn: Needs batch statistics over all processes.
    """

    width: float
    repeats: int
    alpha: float
    out_channels: int
    sync_bn: bool = False


ARCHS = {
    '49S': Arch(0.65, 1, 0.5, 128),
    '49': Arch(1.0, 1, 0.5, 256),
    '96': Arch(1.0, 2, 0.5, 256),
    '143': Arch(1.0, 3, 1.0, 256, sync_bn=True),
    '190': Arch(1.3, 4, 1.0, 512, sync_bn=True),
}


def extra_edges(blocks: Sequence[Block] = BLOCKS) -> dict[int, list[int]]:
    """Edges without resampling, from nodes that no other one merges.

    An output also adds the earlier nodes of its level and type that have no
    connection yet.

    Args:
        blocks: The graph.

    Returns:
        Output -> the nodes that it adds.
    """
    connected: set[int] = set()
    edges: dict[int, list[int]] = {}
    for i, block in enumerate(blocks):
        if block is STEM:
            continue
        connected.update(block.parents)
        if not block.is_output:
            continue
        for j in range(i):
            same = blocks[j][:2] == block[:2]
            if same and j not in connected:
                connected.add(j)
                edges.setdefault(i, []).append(j)
    return edges


def nodes_of(levels: Sequence[int]) -> list[int]:
    """Nodes that the outputs of these levels need, the stem excluded."""
    edges = extra_edges()
    needed: set[int] = set()
    for i, block in reversed(list(enumerate(BLOCKS))):
        if block.is_output and block.level in levels:
            needed.add(i)
        if i in needed:
            needed.update(block.parents)
            needed.update(edges.get(i, []))
    return [i for i in sorted(needed) if i >= 0 and BLOCKS[i] is not STEM]
