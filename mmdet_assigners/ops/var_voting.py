r"""Variance voting: boxes averaged by their predicted variances during NMS.

Bounding Box Regression with Uncertainty for Accurate Object Detection, CVPR
2019, arXiv 1809.08545, Algorithm 1. Greedy or soft NMS picks boxes by score;
each picked box becomes the average of the overlapping boxes that are still
there,

.. math::
    b = \frac{\sum_k p_k b_k / \sigma_k^2}{\sum_k p_k / \sigma_k^2}, \quad
    p_k = e^{-(1 - IoU(b_k, b))^2 / \sigma_t}.

Voting changes neither scores nor overlaps, so the picks come first, class by
class in mmcv's soft-NMS, and the votes after them, of all classes together.
Both run on the CPU, where NumPy has less overhead per operation than PyTorch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.ops.nms import ext_module
from torch import Tensor

MODES = {'soft': 2, 'hard': 0}
"""How boxes are picked, and the number of it in mmcv's soft-NMS."""
_TABLE = 2**15  # elements of a table, which then stays in the cache
_BLOCK = 2**12  # boxes of classes that vote together
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

    @property
    def above_threshold(self) -> float:
        """The smallest IoU in float32 that exceeds the threshold."""
        threshold = np.float32(self.iou_threshold)
        return float(np.nextafter(threshold, np.float32(2)))

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


@np.errstate(over='ignore', invalid='ignore')  # of infinite boxes
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
    device = boxes.device
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    label = np.zeros(len(boxes), np.int64)
    if labels is not None:
        label = labels.cpu().numpy()
    order = torch.from_numpy(label.argsort(kind='stable'))
    boxes, scores, sigmas = (
        one.to('cpu', dtype).index_select(0, order)
        for one in (boxes, scores.detach(), sigmas)
    )
    if len(order) == 0:
        return Votes(boxes.to(device), scores.to(device), order.to(device))
    counts = np.bincount(label)
    counts = counts[counts > 0]
    geometry = _geometry(boxes.detach(), options)
    picks, decayed = _pick(boxes.detach(), scores, geometry, counts, options)
    precision = sigmas.clamp(*SIGMA_RANGE).square().reciprocal()
    values = torch.cat((boxes * precision, precision), 1)
    columns = values.t().contiguous()
    others = torch.cat(
        [
            _neighbors(
                geometry[:, rows],
                scores.numpy()[rows],
                columns[:, rows],
                counts[classes],
                picks[classes],
                options,
            )
            for classes, rows in _blocks(counts)
        ]
    )
    starts = counts.cumsum() - counts
    picked = torch.from_numpy(
        np.concatenate(picks) + starts.repeat([len(one) for one in picks])
    )
    above, below = (values[picked] + others).split(4, 1)
    # a pick without neighbors stays as it is, to the last digit
    voted = boxes[picked].where(others[:, 4:] == 0, above / below)
    return Votes(
        voted.to(device),
        torch.from_numpy(decayed).to(device),
        order[picked].to(device),
    )


def _blocks(counts: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Neighboring classes of about `_BLOCK` boxes together.

    Yields:
        The classes and their boxes.
    """
    ends = counts.cumsum()
    stops = np.flatnonzero(np.diff(ends // _BLOCK, append=-1)) + 1
    for first, stop in pairwise((0, *stops.tolist())):
        start = int(ends[first] - counts[first])
        yield slice(first, stop), slice(start, int(ends[stop - 1]))


def _pick(
    boxes: Tensor,
    scores: Tensor,
    geometry: np.ndarray,
    counts: np.ndarray,
    options: VotingOptions,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Boxes that NMS picks, class by class.

    mmcv's list operations are the official ones, but it drops boxes of low
    scores that meet no other one, divides by areas, and knows float32 alone.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, on the CPU, class by class.
        scores: (N,).
        geometry: (5, N) of the boxes.
        counts: (K,) number of boxes of each class.
        options: Of the NMS.

    Returns:
        tuple: Rows of each class that are picked (P,), in their order; the
        scores of all, after NMS.
    """
    sizes = geometry[2:4] - geometry[:2]
    pick = _pick_in_list
    if (
        boxes.dtype == torch.float32
        and scores.numpy().min() >= options.min_score
        and 0 < sizes.min() <= sizes.max() < np.inf
    ):
        pick = _pick_by_mmcv
    split = counts.tolist()
    picks, decayed = [], []
    for own, score in zip(
        boxes.split(split), scores.split(split), strict=True
    ):
        if len(own) == 1:
            rows, after = np.zeros(1, np.int64), score.numpy()
        else:
            rows, after = pick(own, score, options)
        picks.append(rows)
        decayed.append(after)
    return picks, np.concatenate(decayed)


def _pick_by_mmcv(
    boxes: Tensor, scores: Tensor, options: VotingOptions
) -> tuple[np.ndarray, np.ndarray]:
    """See `_pick_in_list`."""
    dets = torch.empty(len(boxes), 5)
    # the operator itself: mmcv's function around it takes as long as a call
    picks = ext_module.softnms(
        boxes,
        scores,
        dets,
        iou_threshold=options.above_threshold,
        sigma=options.soft_sigma,
        min_score=options.min_score,
        method=MODES[options.mode],
        offset=int(options.plus_one),
    )
    return picks.numpy(), dets.numpy()[: len(picks), 4]


def _pick_in_list(
    boxes: Tensor, scores: Tensor, options: VotingOptions
) -> tuple[np.ndarray, np.ndarray]:
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
    geometry = torch.from_numpy(_geometry(boxes, options))
    values = scores.numpy().copy()
    at = list(range(len(values)))
    step = 0
    while step < len(at):
        best = step + int(values[at[step:]].argmax())
        at[step], at[best] = at[best], at[step]
        iou = _iou(geometry[:, at[step], None], geometry).numpy()
        rest = at[step + 1 :]
        values[rest] *= _factor(iou, options)[rest]
        low = (iou > 0) & (values < options.min_score)
        place = step + 1
        while place < len(at):
            if low[at[place]]:
                at[place] = at[-1]
                at.pop()
            else:
                place += 1
        step += 1
    return np.array(at), values[at]


def _geometry(boxes: Tensor, options: VotingOptions) -> np.ndarray:
    """Sides and area of (N, 4) boxes: (5, N) x1, y1, x2, y2, area."""
    sides = boxes.numpy().T
    found = np.empty((5, len(boxes)), sides.dtype)
    found[:4] = sides
    found[2:4] += options.plus_one
    width, height = (found[2:4] - found[:2]).clip(0)
    np.multiply(width, height, out=found[4])
    return found


def _iou(ours: Tensor, others: Tensor) -> Tensor:
    """IoU of the boxes of two geometries (5, ...); 0 without an area."""
    x1, y1, x2, y2, area = ours
    left, top, right, bottom, size = others
    overlap = torch.minimum(x2, right)
    overlap.sub_(torch.maximum(x1, left)).clamp_(min=0)
    height = torch.minimum(y2, bottom)
    height.sub_(torch.maximum(y1, top)).clamp_(min=0)
    overlap.mul_(height)
    union = torch.add(area, size, out=height).sub_(overlap)
    return overlap.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def _factor(iou: np.ndarray, options: VotingOptions) -> np.ndarray:
    """What a pick multiplies the scores of boxes of this IoU by."""
    if options.mode == 'hard':
        return (iou <= options.iou_threshold).astype(iou.dtype)
    factor = np.square(iou)
    factor /= -options.soft_sigma
    return np.exp(factor, out=factor)


def _neighbors(
    geometry: np.ndarray,
    scores: np.ndarray,
    values: Tensor,
    counts: np.ndarray,
    picks: Sequence[np.ndarray],
    options: VotingOptions,
) -> Tensor:
    """Weighted sums over the neighbors of each pick, of K classes.

    Args:
        geometry: (5, N) of the boxes, class by class.
        scores: (N,) before NMS.
        values: (V, N) what is summed.
        counts: (K,) number of boxes of each class.
        picks: Rows of each class that are picked, in their order.
        options: Of the NMS and the votes.

    Returns:
        Tensor: (M, V) for all picks, without the picks themselves.
    """
    # NumPy, unless there is a gradient
    xp: Any = torch if values.requires_grad else np
    voters = xp.asarray(values)
    lengths = np.array([len(one) for one in picks])
    # (T, K) the pick of each class at each step
    real = np.arange(lengths.max())[:, None] < lengths
    table = np.zeros(real.shape, np.int64)
    starts = counts.cumsum() - counts
    table.T[real.T] = np.concatenate(picks) + starts.repeat(lengths)
    # picked boxes stay until then, whatever our rounding makes of them
    scores = scores.copy()
    scores[table[real]] = np.finfo(scores.dtype).max
    # others of too low scores stay until a pick meets them
    poor = scores < options.min_score
    scores[poor] = 1
    left = np.arange(len(scores))
    label = np.arange(len(counts)).repeat(counts)
    start = 0
    parts = []
    while start < len(table):
        stop = start + max(1, _TABLE // max(1, len(left)))
        at = table[start:stop]
        step, own = real[start:stop].nonzero()
        own = left.searchsorted(at[step, own])
        pick, voter = geometry.take(at, 1), geometry.take(left, 1)[:, None]
        if len(counts) > 1:
            pick = pick.take(label, 2)
        iou = _iou(torch.from_numpy(pick), torch.from_numpy(voter)).numpy()
        factor = _factor(iou, options)
        # NaN: no longer in the list
        factor[step, own] = np.nan
        if poor.any():
            factor[:, poor] = np.where(iou[:, poor] > 0, np.nan, 1)
        # (t + 1, A) scores before and after each pick
        after = np.empty((len(at) + 1, len(left)), scores.dtype)
        after[0] = scores
        for row, change in enumerate(factor):
            np.multiply(after[row], change, out=after[row + 1])
        still = after >= options.min_score
        votes = iou > options.neighbor_iou
        votes &= still[:-1]
        votes[step, own] = False
        weight = np.subtract(1, iou, out=iou)
        weight *= weight
        weight /= -options.sigma_t
        np.exp(weight, out=weight)
        weight *= votes
        weight = xp.asarray(weight)
        own_voters = voters[:, left]
        ends = np.bincount(label, minlength=len(counts)).cumsum().tolist()
        sums = [
            own_voters[:, first:end] @ weight[:, first:end].T
            for first, end in pairwise((0, *ends))
        ]
        parts.append(xp.stack(sums))
        stays = still[-1].nonzero()[0]
        left, label, poor = left[stays], label[stays], poor[stays]
        scores = after[-1, stays]
        start = stop
    # (K, T, V)
    sums = xp.concatenate(parts, 2).swapaxes(1, 2)
    return torch.as_tensor(sums[real.T])
