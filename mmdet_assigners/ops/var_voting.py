r"""Variance voting: boxes averaged by their predicted variances during NMS.

Bounding Box Regression with Uncertainty for Accurate Object Detection, CVPR
2019, arXiv 1809.08545, Algorithm 1. Greedy or soft NMS picks boxes by score;
each picked box becomes the average of the overlapping boxes that are still
there,

.. math::
    b = \frac{\sum_k p_k b_k / \sigma_k^2}{\sum_k p_k / \sigma_k^2}, \quad
    p_k = e^{-(1 - IoU(b_k, b))^2 / \sigma_t}.

Voting changes neither scores nor overlaps, so the picks come first, one loop
for all classes of similar size at once, and the votes of all picks after them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .anchor_match import pairwise_iou
from .anchor_points import MAX_ELEMENTS

MODES = ('soft', 'hard')
SIGMA_RANGE = (1e-9, 1e9)
"""Standard deviations are clipped to this, so inverse squares are finite."""


@dataclass(frozen=True)
class VotingOptions:
    """How boxes are picked and who votes.

    Attributes:
        mode: 'soft', the default of the official code: Gaussian soft-NMS;
            'hard': greedy NMS.
        sigma_t: Of the weight of a voter; 0.01 in the official code, 0.005 to
            0.05 in the paper.
        iou_threshold: Boxes of a larger IoU with a picked one are removed in
            'hard' mode; 0.5.
        soft_sigma: Scores are multiplied by exp(-IoU^2 / soft_sigma) in
            'soft' mode; 0.5.
        neighbor_iou: Boxes of a larger IoU vote; 0.01 in the official code,
            0 in the paper.
        min_score: Boxes whose score NMS brings below are removed; 0.001.
        plus_one: The size of a box is x2 - x1 + 1, as in the official code.

    Raises:
        ValueError: An option is out of its range.
    """

    mode: str = 'soft'
    sigma_t: float = 0.01
    iou_threshold: float = 0.5
    soft_sigma: float = 0.5
    neighbor_iou: float = 0.01
    min_score: float = 0.001
    plus_one: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(
                f'mode must be one of {", ".join(MODES)}, got {self.mode!r}'
            )
        for name in ('sigma_t', 'soft_sigma'):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f'{name} must be positive, got {value}')
        for name in ('iou_threshold', 'neighbor_iou', 'min_score'):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {value}')


class Votes(NamedTuple):
    """Boxes after voting, class by class in the order of picking.

    Attributes:
        boxes: (M, 4) x1, y1, x2, y2 in pixels.
        scores: (M,), decayed in 'soft' mode.
        index: (M,) int64 row of the picked box in the input.
    """

    boxes: Tensor
    scores: Tensor
    index: Tensor


def var_voting(
    boxes: Tensor,
    scores: Tensor,
    sigmas: Tensor,
    labels: Tensor | None = None,
    options: VotingOptions | None = None,
) -> Votes:
    """NMS with variance voting of the boxes of an image.

    Only boxes that haven't been picked or removed vote, with the coordinates
    that they came with. Equal scores are picked in the order of the official
    code: first come first, after its swaps.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        scores: (N,).
        sigmas: (N, 4) standard deviations of the sides, in any unit that the
            boxes share.
        labels: (N,) int64 class; boxes of different classes don't meet. None:
            one class.
        options: Official ones by default.

    Returns:
        Votes: M <= N boxes in float32 or finer.
    """
    options = options or VotingOptions()
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    boxes, scores, sigmas = boxes.to(dtype), scores.to(dtype), sigmas.to(dtype)
    if labels is None:
        labels = torch.zeros_like(scores, dtype=torch.long)
    parts = [
        _vote_classes(boxes, scores, sigmas, index, valid, options)
        for index, valid in _groups(labels)
    ]
    if not parts:
        return Votes(boxes, scores, torch.zeros_like(labels))
    return Votes(*map(torch.cat, zip(*parts, strict=True)))


def _groups(labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the classes, classes of similar size together.

    Yields:
        Rows (K, N) of K classes and which of them count, (K, N) bool; at most
        half of them is padding.
    """
    order = labels.argsort(stable=True)
    counts = labels.unique(return_counts=True)[1]
    ends = counts.cumsum(0)
    # 1, 2..3, 4..7, ...
    size = counts.double().log2().floor().long()
    for level in size.unique().tolist():
        chosen = (size == level).nonzero()[:, 0]
        count = counts[chosen, None]
        slot = torch.arange(int(count.max()), device=labels.device)
        valid = slot < count
        rows = ends[chosen, None] - count + slot
        yield order[rows.clamp(max=len(order) - 1)], valid


def _vote_classes(
    boxes: Tensor,
    scores: Tensor,
    sigmas: Tensor,
    index: Tensor,
    valid: Tensor,
    options: VotingOptions,
) -> Votes:
    """Rows ``index`` (K, N) of K classes, where ``valid``."""
    boxes, scores, sigmas = boxes[index], scores[index], sigmas[index]
    picks, decayed, left, kept = pick_boxes(boxes, scores, valid, options)
    voted = vote(boxes, sigmas, picks, left, options)
    return Votes(voted[kept], decayed[kept], index.gather(1, picks)[kept])


def pick_boxes(
    boxes: Tensor, scores: Tensor, valid: Tensor, options: VotingOptions
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Greedy or soft NMS of K classes at once.

    The loop is over picks. ``at`` holds which box is at which position of the
    official code's list, because positions decide between equal scores: a
    pick swaps places with the first box that is left, a removed box with the
    last.

    Args:
        boxes: (K, N, 4) x1, y1, x2, y2 in pixels.
        scores: (K, N).
        valid: (K, N) bool, the first of each row.
        options: Of the NMS.

    Returns:
        tuple: Picked boxes in their order (K, N) int64, their scores (K, N),
        the pick with which a box left the list (K, N) int64, -1 for padding,
        and which of the first two are picks (K, N) bool.
    """
    size = scores.shape[1]
    position = torch.arange(size, device=scores.device)
    at = position.expand(scores.shape).contiguous()
    left = torch.full_like(at, size).where(valid, -1)
    number = valid.sum(1, keepdim=True)
    table = None
    if scores.numel() * size <= MAX_ELEMENTS:
        table = pairwise_iou(boxes, boxes, options.plus_one)
    for step in range(size):
        running = number > step
        if not running.any():
            break
        waiting = (position >= step) & (position < number)
        best = scores.gather(1, at).where(waiting, -torch.inf)
        best = best.argmax(1, keepdim=True).where(running, step)
        first = at[:, step : step + 1].clone()
        chosen = at.gather(1, best)
        at = at.scatter(1, best, first)
        at[:, step : step + 1] = chosen
        waiting = left == size
        left = left.scatter(
            1, chosen, left.gather(1, chosen).where(~running, step)
        )
        iou = _rows(table, boxes, chosen, options.plus_one)[:, 0]
        waiting = waiting & (iou > 0) & (left == size) & running
        factor = (
            (-iou.square() / options.soft_sigma).exp()
            if options.mode == 'soft'
            else (iou <= options.iou_threshold).to(iou)
        )
        scores = (scores * factor).where(waiting, scores)
        removed = waiting & (scores < options.min_score)
        left = left.masked_fill(removed, step)
        at, number = _close_gaps(at, number, removed, step)
    kept = position < number
    return at, scores.gather(1, at), left, kept


def _rows(
    table: Tensor | None, boxes: Tensor, rows: Tensor, plus_one: bool
) -> Tensor:
    """IoU (K, T, N) of boxes ``rows`` (K, T) with all boxes."""
    if table is not None:
        return table.gather(1, rows[..., None].expand(-1, -1, table.shape[2]))
    chosen = boxes.gather(1, rows[..., None].expand(-1, -1, 4))
    return pairwise_iou(chosen, boxes, plus_one)


def _close_gaps(
    at: Tensor, number: Tensor, removed: Tensor, step: int
) -> tuple[Tensor, Tensor]:
    """Put the last boxes of the list into the places of removed ones."""
    size = at.shape[1]
    position = torch.arange(size, device=at.device)
    gone = removed.gather(1, at)
    after = (position > step) & (position < number)
    number = number - (gone & after).sum(1, keepdim=True)
    hole = after & gone & (position < number)
    mover = after & ~gone & (position >= number)
    # the last box moves into the first hole
    rank = mover.flip(1).cumsum(1).flip(1) - 1
    movers = at.new_zeros(len(at), size + 1)
    movers = movers.scatter(1, rank.where(mover, size), at)
    rank = (hole.cumsum(1) - 1).clamp(min=0)
    return movers.gather(1, rank).where(hole, at), number


def vote(
    boxes: Tensor,
    sigmas: Tensor,
    picks: Tensor,
    left: Tensor,
    options: VotingOptions,
) -> Tensor:
    """Average of the voters of each pick.

    Args:
        boxes: (K, N, 4) x1, y1, x2, y2 in pixels.
        sigmas: (K, N, 4) standard deviations of the sides.
        picks: (K, T) int64 box of each pick.
        left: (K, N) int64 pick with which a box left the list.
        options: Of the votes.

    Returns:
        Tensor: (K, T, 4); a pick without neighbors stays as it is.
    """
    precision = sigmas.clamp(*SIGMA_RANGE).square().reciprocal()
    values = torch.cat((boxes * precision, precision), -1)
    total = picks.shape[1]
    chunk = max(1, MAX_ELEMENTS // max(1, boxes.shape[0] * boxes.shape[1]))
    parts = []
    for start in range(0, total, chunk):
        own = picks[:, start : start + chunk]
        iou = _rows(None, boxes, own, options.plus_one)
        step = torch.arange(start, start + own.shape[1], device=own.device)
        voter = left[:, None] >= step[:, None]
        voter = voter & (iou > options.neighbor_iou)
        weight = (-(1 - iou).square() / options.sigma_t).exp() * voter
        # a box without area is its own neighbor too
        weight = weight.scatter(2, own[..., None], 1.0)
        above, below = (weight @ values).split(4, -1)
        alone = (weight > 0).sum(-1, keepdim=True) == 1
        before = boxes.gather(1, own[..., None].expand(-1, -1, 4))
        parts.append(before.where(alone, above / below))
    return torch.cat(parts, 1)
