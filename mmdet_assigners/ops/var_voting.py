r"""Variance voting: boxes averaged by their predicted variances during NMS.

Bounding Box Regression with Uncertainty for Accurate Object Detection, CVPR
2019, arXiv 1809.08545, Algorithm 1. Greedy or soft NMS picks boxes by score;
each picked box becomes the average of the overlapping boxes that are still
there,

.. math::
    b = \frac{\sum_k p_k b_k / \sigma_k^2}{\sum_k p_k / \sigma_k^2}, \quad
    p_k = e^{-(1 - IoU(b_k, b))^2 / \sigma_t}.

Voting changes neither scores nor overlaps, so the picks come first, class by
class on the CPU as in mmcv's soft-NMS, and the votes of all picks after them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.ops.nms import SoftNMSop
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .anchor_match import pairwise_iou
from .anchor_points import MAX_ELEMENTS

MODES = {'soft': 2, 'hard': 0}
"""How boxes are picked, and the number of it in mmcv's soft-NMS."""
_FEW = 2**18  # elements of a table that is computed as fast as smaller ones
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
        Votes: M <= N boxes in float32 or finer; scores without gradient.
    """
    options = options or VotingOptions()
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    boxes, scores, sigmas = boxes.to(dtype), scores.to(dtype), sigmas.to(dtype)
    if labels is None:
        labels = torch.zeros_like(scores, dtype=torch.long)
    pick = _picker(boxes, scores, options)
    on_host = boxes.detach().cpu(), scores.detach().cpu()
    parts = []
    for index, counts in _groups(labels):
        rows = index.cpu()
        found = [
            pick(on_host[0][own[:count]], on_host[1][own[:count]], options)
            for own, count in zip(rows, counts.tolist(), strict=True)
        ]
        picks, decayed = zip(*found, strict=True)
        # (K, T), -1 where a class has fewer picks
        picks = pad_sequence(picks, True, -1).to(labels.device)
        voted = vote(
            boxes[index], scores[index], sigmas[index], counts, picks, options
        )
        kept = picks >= 0
        parts.append(
            Votes(
                voted[kept],
                torch.cat(decayed).to(scores.device),
                index.gather(1, picks.clamp(min=0))[kept],
            )
        )
    if not parts:
        return Votes(boxes, scores, torch.zeros_like(labels))
    return Votes(*map(torch.cat, zip(*parts, strict=True)))


def _groups(labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the classes, classes of similar size together.

    Yields:
        Rows (K, N) of K classes, and how many of them count, (K,); the rest
        is padding.
    """
    order = labels.argsort(stable=True)
    counts = labels.unique(return_counts=True)[1]
    ends = counts.cumsum(0)
    # 1, 2..3, 4..7, ...; all together where padding costs less than calls
    size = counts.double().log2().floor().long()
    if len(counts) and len(counts) * int(counts.max()) ** 2 < _FEW:
        size = torch.zeros_like(size)
    for level in size.unique().tolist():
        chosen = (size == level).nonzero()[:, 0]
        count = counts[chosen]
        slot = torch.arange(int(count.max()), device=labels.device)
        rows = (ends[chosen] - count)[:, None] + slot
        yield order[rows.clamp(max=len(order) - 1)], count


def _picker(
    boxes: Tensor, scores: Tensor, options: VotingOptions
) -> Callable[[Tensor, Tensor, VotingOptions], tuple[Tensor, Tensor]]:
    """The fastest function that picks these boxes as the official code does.

    mmcv's list operations are the same, but it drops boxes of low scores that
    meet no other one, divides by areas, and knows float32 alone.
    """
    sizes = boxes[:, 2:] - boxes[:, :2] + float(options.plus_one)
    usual = (sizes > 0) & sizes.isfinite()
    usual = usual.all() & (scores >= options.min_score).all()
    if boxes.dtype == torch.float32 and usual:
        return _pick_by_mmcv
    return _pick_in_list


def _pick_by_mmcv(
    boxes: Tensor, scores: Tensor, options: VotingOptions
) -> tuple[Tensor, Tensor]:
    """See `_pick_in_list`."""
    if len(boxes) == 1:
        return torch.zeros(1, dtype=torch.long), scores
    # mmcv removes boxes of this IoU too
    threshold = np.nextafter(np.float32(options.iou_threshold), np.float32(2))
    dets, picks = SoftNMSop.apply(
        boxes,
        scores,
        float(threshold),
        options.soft_sigma,
        options.min_score,
        MODES[options.mode],
        int(options.plus_one),
    )
    return picks, dets[: len(picks), 4]


def _pick_in_list(
    boxes: Tensor, scores: Tensor, options: VotingOptions
) -> tuple[Tensor, Tensor]:
    """Greedy or soft NMS of one class with the official list operations.

    Positions in the list decide between equal scores: a pick swaps places
    with the first box that is left, a removed box gives its place to the
    last.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, on the CPU.
        scores: (N,).
        options: Of the NMS.

    Returns:
        tuple: Picked boxes in their order (P,) int64, and their scores (P,).
    """
    values = scores.numpy().copy()
    at = list(range(len(values)))
    step = 0
    while step < len(at):
        best = step + int(values[at[step:]].argmax())
        at[step], at[best] = at[best], at[step]
        chosen = boxes[None, at[step], None]
        iou = pairwise_iou(chosen, boxes[None], options.plus_one)[0, 0]
        rest = at[step + 1 :]
        values[rest] *= _factor(iou, options).numpy()[rest]
        low = (iou > 0).numpy() & (values < options.min_score)
        place = step + 1
        while place < len(at):
            if low[at[place]]:
                at[place] = at[-1]
                at.pop()
            else:
                place += 1
        step += 1
    return torch.tensor(at), torch.from_numpy(values[at])


def _factor(iou: Tensor, options: VotingOptions) -> Tensor:
    """What a pick multiplies the scores of boxes of this IoU by."""
    if options.mode == 'soft':
        return (-iou.square() / options.soft_sigma).exp()
    return (iou <= options.iou_threshold).to(iou)


def vote(
    boxes: Tensor,
    scores: Tensor,
    sigmas: Tensor,
    counts: Tensor,
    picks: Tensor,
    options: VotingOptions,
) -> Tensor:
    """Average of the voters of each pick, of K classes.

    Args:
        boxes: (K, N, 4) x1, y1, x2, y2 in pixels.
        scores: (K, N) before NMS.
        sigmas: (K, N, 4) standard deviations of the sides.
        counts: (K,) number of boxes, the first ones; others are padding.
        picks: (K, T) int64 boxes in the order of picking, -1: padding.
        options: Of the NMS and the votes.

    Returns:
        Tensor: (K, T, 4); a pick without neighbors stays as it is.
    """
    size, total = boxes.shape[1], picks.shape[1]
    precision = sigmas.clamp(*SIGMA_RANGE).square().reciprocal()
    values = torch.cat((boxes * precision, precision), -1)
    slot = torch.arange(size, device=boxes.device)
    steps = torch.arange(total, device=boxes.device)
    # (K, N) until which pick a box votes: one that is picked, to its own;
    # others until they are removed; padding never
    until = torch.full_like(slot, total).where(slot < counts[:, None], -1)
    until = F.pad(until, (0, 1))
    until.scatter_(1, picks.where(picks >= 0, size), steps.expand_as(picks))
    until = until[:, :size]
    # (K, R) the boxes that are removed, then others
    removed = until == total
    most = int(removed.sum(1).max())
    gone = removed.byte().argsort(1, descending=True)[:, :most]
    scores = scores.gather(1, gone)
    picks = picks.clamp(min=0)
    chunk = max(1, MAX_ELEMENTS // max(1, boxes.shape[0] * size))
    parts = []
    for start in range(0, total, chunk):
        own = picks[:, start : start + chunk]
        step = steps[start : start + chunk, None]
        chosen = boxes.gather(1, own[..., None].expand(-1, -1, 4))
        iou = pairwise_iou(chosen, boxes, options.plus_one)
        if most:
            met = iou.gather(2, gone[:, None].expand(-1, len(step), -1))
            # (K, t, R) scores after each pick, if nothing were removed
            after = scores[:, None] * _factor(met, options).cumprod(1)
            scores = after[:, -1]
            low = (after < options.min_score) & (met > 0)
            first = step.where(low, total).amin(1)
            first = torch.minimum(until.gather(1, gone), first)
            until = until.scatter(1, gone, first)
        voter = (until[:, None] >= step) & (iou > options.neighbor_iou)
        weight = (1 - iou).square_().div_(-options.sigma_t)
        weight = weight.masked_fill_(~voter, -torch.inf).exp_()
        # a box without area is its own neighbor too
        weight.scatter_(2, own[..., None], 1.0)
        above, below = (weight @ values).split(4, -1)
        alone = (weight > 0).sum(-1, keepdim=True) == 1
        parts.append(chosen.where(alone, above / below))
    return torch.cat(parts, 1)
