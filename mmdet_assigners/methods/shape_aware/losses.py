"""Losses that mmdet leaves out of a batch without proposals."""

from collections.abc import Iterable

from torch import Tensor, nn


def with_every_loss(
    losses: dict[str, Tensor], names: Iterable[str], head: nn.Module
) -> dict[str, Tensor]:
    """Losses, and a 0 for each that is missing.

    Args:
        losses: Losses by name, () each.
        names: Those of every batch.
        head: Its parameters stay in the graph, for DDP.
    """
    missing = [name for name in names if name not in losses]
    if not missing:
        return losses
    zero = sum(parameter.sum() * 0 for parameter in head.parameters())
    return losses | {
        name: zero if 'loss' in name else zero.detach() for name in missing
    }
