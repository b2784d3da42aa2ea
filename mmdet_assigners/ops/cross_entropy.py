"""Cross entropy of probabilities."""

import torch.nn.functional as F
from torch import Tensor


def log_loss(prob: Tensor, target: float) -> Tensor:
    """Binary cross entropy of probabilities, at most 100; NaN stays NaN.

    ``F.binary_cross_entropy`` refuses NaN, on a GPU with an assertion that
    ends the process; a loss of NaN tells what happened.

    Args:
        prob: (...) in [0, 1].
        target: 0 or 1, of all.

    Returns:
        Tensor: (...).
    """
    known = prob.nan_to_num(nan=target)
    loss = F.binary_cross_entropy(
        known, known.new_full((), target).expand_as(known), reduction='none'
    )
    return loss.where(~prob.isnan(), prob)
