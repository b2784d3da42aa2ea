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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.ops.nms import ext_module
from torch import Tensor

MODES = {'soft': 2, 'hard': 0}
"""How boxes are picked, and the number of it in mmcv's soft-NMS."""
_TABLE = 2**16  # elements of a table, which then stays in the cache
_BLOCK = 2**12  # boxes of classes that vote together
SIGMA_RANGE = (1e-9, 1e9)
"""Standard deviations are clipped to this, so inverse squares are finite."""
_Picks = tuple[np.ndarray, np.ndarray]  # rows and scores


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
        labels: (N,) int64 class, from 0; boxes of different classes don't
            meet. None: one class.
        options: Official ones by default.

    Returns:
        Votes: M <= N boxes in float32 or finer; scores without gradient.
    """
    options = options or VotingOptions()
    device = boxes.device
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    label: np.ndarray
    if labels is None:
        label = np.zeros(len(boxes), np.int64)
    else:
        label = labels.cpu().numpy()
    boxes, scores, sigmas = (
        one.to('cpu', dtype) for one in (boxes, scores.detach(), sigmas)
    )
    if len(label) == 0:
        index = torch.from_numpy(label)
        return Votes(boxes.to(device), scores.to(device), index.to(device))
    order = label.argsort(kind='stable')
    counts = np.bincount(label)
    counts = counts[counts > 0]
    own: Any = boxes.detach().numpy()[order]
    own_scores: np.ndarray = scores.numpy()[order]
    geometry = _geometry(own, options)
    picks, decayed = _pick(own, own_scores, geometry, counts, options)
    # NumPy, unless there is a gradient
    xp: Any = np
    own_sigmas: Any = sigmas.detach().numpy()[order]
    if boxes.requires_grad or sigmas.requires_grad:
        xp, own, own_sigmas = torch, boxes[order], sigmas[order]
    precision = 1 / own_sigmas.clip(*SIGMA_RANGE) ** 2
    values = xp.concatenate((own * precision, precision), 1)
    others = xp.concatenate(
        [
            _neighbors(
                geometry[:, rows],
                own_scores[rows],
                values[rows],
                counts[classes],
                picks[classes],
                options,
            )
            for classes, rows in _blocks(counts)
        ]
    )
    starts = counts.cumsum() - counts
    picked = np.concatenate(picks)
    picked += starts.repeat([len(one) for one in picks])
    own, above, below = own[picked], others[:, :4], others[:, 4:]
    # the average, written so that a pick without neighbors stays as it is
    voted = own + (above - own * below) / (precision[picked] + below)
    return Votes(
        torch.as_tensor(voted, device=device),
        torch.from_numpy(decayed).to(device),
        torch.from_numpy(order[picked]).to(device),
    )


def _blocks(counts: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Neighboring classes of about `_BLOCK` boxes together.

    Yields:
        The classes and their boxes.
    """
    ends = counts.cumsum()
    block = ends // _BLOCK
    stops = (block[1:] > block[:-1]).nonzero()[0] + 1
    for first, stop in pairwise((0, *stops.tolist(), len(counts))):
        start = ends[first] - counts[first]
        yield slice(first, stop), slice(start, ends[stop - 1])


def _pick(
    boxes: np.ndarray,
    scores: np.ndarray,
    geometry: np.ndarray,
    counts: np.ndarray,
    options: VotingOptions,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Boxes that NMS picks, class by class.

    mmcv's list operations are the official ones, but it drops boxes of low
    scores that meet no other one, divides by areas, and knows float32 alone.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, class by class.
        scores: (N,).
        geometry: (5, N) of the boxes.
        counts: (K,) number of boxes of each class.
        options: Of the NMS.

    Returns:
        tuple: Rows of each class that are picked (P,), in their order; the
        scores of all, after NMS.
    """
    sizes = geometry[2:4] - geometry[:2]
    usual = (
        boxes.dtype == np.float32
        and scores.min() >= options.min_score
        and 0 < sizes.min() <= sizes.max() < np.inf
    )
    if usual:
        pick = _mmcv_picker(options)
    else:
        pick = partial(_pick_in_list, options=options)
    split = counts.tolist()
    with torch.inference_mode():  # a fifth less for a small class
        tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
        found = map(pick, *(one.split(split) for one in tensors))
        picks, decayed = zip(*found, strict=True)
    return list(picks), np.concatenate(decayed)


def _mmcv_picker(options: VotingOptions) -> Callable[[Tensor, Tensor], _Picks]:
    """`_pick_in_list` of these options, for usual boxes: see `_pick`."""
    # mmcv removes boxes of this IoU too
    above = np.nextafter(np.float32(options.iou_threshold), np.float32(2))
    # its operator: the function around it takes as long as a few boxes
    soft_nms = partial(
        ext_module.softnms,
        iou_threshold=float(above),
        sigma=options.soft_sigma,
        min_score=options.min_score,
        method=MODES[options.mode],
        offset=int(options.plus_one),
    )

    def pick(boxes: Tensor, scores: Tensor) -> _Picks:
        if len(boxes) == 1:
            return np.zeros(1, np.int64), scores.numpy()
        dets = boxes.new_empty(len(boxes), 5)
        picks = soft_nms(boxes, scores, dets).numpy()
        return picks, dets.numpy()[: len(picks), 4]

    return pick


def _pick_in_list(
    boxes: Tensor, scores: Tensor, options: VotingOptions
) -> _Picks:
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
    geometry = _geometry(boxes.numpy(), options)
    values = scores.numpy().copy()
    at = list(range(len(values)))
    step = 0
    while step < len(at):
        best = step + int(values[at[step:]].argmax())
        at[step], at[best] = at[best], at[step]
        iou = _iou(geometry[:, at[step], None], geometry)
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


def _geometry(boxes: np.ndarray, options: VotingOptions) -> np.ndarray:
    """Sides and area of (N, 4) boxes: (5, N) x1, y1, x2, y2, area."""
    found = np.empty((5, len(boxes)), boxes.dtype)
    found[:4] = boxes.T
    found[2:4] += options.plus_one
    width, height = (found[2:4] - found[:2]).clip(0)
    np.multiply(width, height, out=found[4])
    return found


def _iou(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of the boxes of two geometries (5, ...); 0 without an area."""
    x1, y1, x2, y2, area = ours
    left, top, right, bottom, size = others
    overlap: np.ndarray = np.minimum(x2, right)
    overlap -= np.maximum(x1, left)
    np.maximum(overlap, 0, out=overlap)
    height: np.ndarray = np.minimum(y2, bottom)
    height -= np.maximum(y1, top)
    np.maximum(height, 0, out=height)
    overlap *= height
    union = np.add(area, size, out=height)
    union -= overlap
    overlap /= np.maximum(union, np.finfo(union.dtype).tiny, out=union)
    return overlap


def _factor(iou: np.ndarray, options: VotingOptions) -> np.ndarray:
    """What a pick multiplies the scores of boxes of this IoU by."""
    if options.mode == 'soft':
        factor = iou * iou
        factor /= -options.soft_sigma
        return np.exp(factor, out=factor)
    return (iou <= options.iou_threshold).astype(iou.dtype)


def _neighbors(
    geometry: np.ndarray,
    scores: np.ndarray,
    values: Any,
    counts: np.ndarray,
    picks: list[np.ndarray],
    options: VotingOptions,
) -> Any:
    """Weighted sums over the neighbors of each pick, of K classes.

    Args:
        geometry: (5, N) of the boxes, class by class.
        scores: (N,) before NMS.
        values: (N, V) array or tensor, what is summed.
        counts: (K,) number of boxes of each class.
        picks: Rows of each class that are picked, in their order.
        options: Of the NMS and the votes.

    Returns:
        (M, V) of that kind, for all picks, without the picks themselves.
    """
    xp: Any = torch if isinstance(values, Tensor) else np
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
        steps, classes = real[start:stop].nonzero()
        own = np.atleast_1d(left.searchsorted(at[steps, classes]))
        pick: np.ndarray = geometry.take(at, 1)
        voter: np.ndarray = geometry.take(left, 1)[:, None]
        if len(counts) > 1:
            pick = pick.take(label, 2)
        iou = _iou(pick, voter)
        weight, after = _weights(iou, scores, (steps, own), poor, options)
        weight, voters = xp.asarray(weight), values[left]
        ends = np.bincount(label, minlength=len(counts)).cumsum().tolist()
        sums = [
            weight[:, first:end] @ voters[first:end]
            for first, end in pairwise((0, *ends))
        ]
        parts.append(xp.stack(sums))
        stays = (after >= options.min_score).nonzero()[0]
        left, label, poor = left[stays], label[stays], poor[stays]
        scores = after[stays]
        start = stop
    return xp.concatenate(parts, 1)[real.T]


def _weights(
    iou: np.ndarray,
    scores: np.ndarray,
    own: tuple[np.ndarray, np.ndarray],
    poor: np.ndarray,
    options: VotingOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the boxes that are left, at some steps.

    Args:
        iou: (t, A) of each box with the pick of its class at each step.
        scores: (A,) before these steps.
        own: Steps and boxes of the picks, which don't vote for themselves.
        poor: (A,) bool, boxes that the first pick removes that they meet.
        options: Of the NMS and the votes.

    Returns:
        tuple: Weights (t, A), 0 for boxes that don't vote, and the scores
        (A,) after these steps, NaN where a box was picked.
    """
    factor = _factor(iou, options)
    factor[own] = np.nan
    if poor.any():
        factor[:, poor] = np.where(iou[:, poor] > 0, np.nan, 1)
    before = np.empty((len(iou) + 1, len(scores)), scores.dtype)
    before[0] = scores
    for step, change in enumerate(factor):
        np.multiply(before[step], change, out=before[step + 1])
    votes = before[:-1] >= options.min_score
    votes &= iou > options.neighbor_iou
    votes[own] = False
    weight: np.ndarray = 1 - iou
    weight *= weight
    weight /= -options.sigma_t
    np.exp(weight, out=weight)
    weight *= votes
    return weight, before[-1]
