"""MAL: feature depression, anchor bags and their losses.

Multiple Anchor Learning for Visual Object Detection, CVPR 2020, arXiv
1912.02252. B images, G ground truths (padded), P anchors of all levels, K
anchors per bag, C classes.
"""

import math

import torch
from torch import Tensor

from ...ops.anchor_match import iou_chunks
from ...ops.anchor_points import MAX_ELEMENTS
from ...ops.cross_entropy import log_loss

SELECTIONS = ('mean_max', 'topk_anneal')
VARIANTS = ('spatial', 'channel_spatial')
NUM_SCHEDULES = 9
_UP = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
_UP_AND_DOWN = (*_UP, *_UP[::-1])


def depression_ratio(schedule: int, iteration: int, max_iters: int) -> float:
    """Share of the positions to depress at an iteration.

    With t the iteration, T the number of iterations, u = min(t, T - t) / T
    and s the logistic function: 0: 1/2; 1: six steps 0, 0.1, ... 0.5; 2:
    t/T/2; 3: log(1 + 9t/T)/2; 4: s(10 (t/T - 1/2))/2; 5 (official): twelve
    steps 0, 0.1, ... 0.5, 0.5, ... 0.1, 0; 6: u; 7: log(1 + 18u)/2; 8:
    s(10 (u - 1/2))/2. Steps begin at whole parts of T. Schedules 3 and 7
    exceed 1/2.

    Args:
        schedule: 0 to 8.
        iteration: t, counted from 1; larger than T counts as T.
        max_iters: T.

    Returns:
        float: At least 0.

    Raises:
        ValueError: An argument is out of its range.
    """
    if schedule not in range(NUM_SCHEDULES):
        raise ValueError(f'schedule must be in 0..8, got {schedule!r}')
    if max_iters < 1 or iteration < 0:
        raise ValueError(
            'expected iteration >= 0 and max_iters >= 1, got '
            f'{iteration} and {max_iters}'
        )
    t = min(iteration, max_iters)
    done = t / max_iters
    mirrored = min(t, max_iters - t) / max_iters
    if schedule == 0:
        return 0.5
    if schedule == 1:
        return _UP[min(6 * t // max_iters, 5)]
    if schedule == 2:
        return done / 2
    if schedule == 3:
        return math.log(1 + 9 * done) / 2
    if schedule == 4:
        return _logistic(10 * (done - 0.5)) / 2
    if schedule == 5:
        return _UP_AND_DOWN[min(12 * t // max_iters, 11)]
    if schedule == 6:
        return mirrored
    if schedule == 7:
        return math.log(1 + 18 * mirrored) / 2
    return _logistic(10 * (mirrored - 0.5)) / 2


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@torch.no_grad()
def activation_map(feat: Tensor) -> Tensor:
    """Class-agnostic activation: channels weighted by their spatial mean.

    Args:
        feat: (B, channels, H, W).

    Returns:
        Tensor: (B, H, W), without gradient, in float32 or finer.
    """
    feat = feat.to(torch.promote_types(feat.dtype, torch.float32))
    # a product with a column: equal features then give equal bits wherever
    # they are, so that a constant map has no largest position
    cells = feat.flatten(2).contiguous().transpose(1, 2)
    active = cells @ feat.mean((2, 3))[..., None]
    return active.view(len(feat), *feat.shape[2:])


@torch.no_grad()
def kept_positions(
    feat: Tensor, ratio: float, variant: str = 'spatial'
) -> Tensor:
    """Mask of the features that are kept; the most active ones are not.

    Of N positions floor(N * ratio) are depressed: those above the value that
    follows them in descending order. Fewer, where values are equal, and none
    of a constant map.

    Args:
        feat: (B, channels, H, W).
        ratio: Share of the positions to depress, at least 0; one position
            always stays.
        variant: 'spatial' (official), or 'channel_spatial', where the
            channels of largest mean are depressed too.

    Returns:
        Tensor: (B, 1, H, W) bool, of 'channel_spatial' (B, channels, H, W).

    Raises:
        ValueError: ``variant`` is unknown or ``ratio`` negative.
    """
    if variant not in VARIANTS:
        raise ValueError(
            f'variant must be one of {", ".join(VARIANTS)}, got {variant!r}'
        )
    if not ratio >= 0:
        raise ValueError(f'ratio must be at least 0, got {ratio}')
    kept = _below_top(activation_map(feat).flatten(1), ratio)
    kept = kept.view(len(feat), 1, *feat.shape[2:])
    if variant == 'channel_spatial':
        feat = feat.to(torch.promote_types(feat.dtype, torch.float32))
        channels = _below_top(feat.mean((2, 3)), ratio)
        kept = kept & channels[:, :, None, None]
    return kept


def _below_top(values: Tensor, ratio: float) -> Tensor:
    """Mask (B, N): not among the floor(N * ratio) largest of its row."""
    count = values.shape[1]
    depressed = min(int(count * ratio), count - 1)
    bound = values.kthvalue(count - depressed, dim=1, keepdim=True).values
    return values <= bound


def depress(feat: Tensor, kept: Tensor, keep: float = 0.25) -> Tensor:
    """Weaken features; the gradient passes with the same factor.

    Args:
        feat: (B, channels, H, W).
        kept: Bool, broadcast against ``feat``.
        keep: Factor of depressed features; 1/4 in the official code.

    Returns:
        Tensor: Like ``feat``.
    """
    return feat * torch.where(kept, 1.0, keep).to(feat.dtype)


def anchor_bags(
    anchors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    topk: int,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """The bag of each ground truth: its anchors of highest IoU.

    Args:
        anchors: (P, 4) pixels.
        boxes: (B, G, 4) pixels.
        mask: (B, G) bool, False for padding, whose bag is meaningless.
        topk: Size of a bag; 40 (R-50) and 50 (X-101) in the official code.
            All anchors, if there are fewer.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, G, K) int64 indices of anchors, in no order.
    """
    topk = min(topk, len(anchors))
    chunks = iou_chunks(anchors, boxes, mask, max_elements=max_elements)
    bags = [iou.topk(topk, dim=2, sorted=False).indices for _, iou in chunks]
    return torch.cat(bags, 1)


def mean_max(scores: Tensor, clamp_gradient: bool = True) -> Tensor:
    """Mean of scores weighted by 1 / (1 - score).

    Close to their mean while all are small and to their maximum when one
    comes close to 1; the gradient passes through the weights too.

    Args:
        scores: (..., K) in [0, 1].
        clamp_gradient: Where ``1 - score`` is clamped to 1e-12, let the
            gradient pass (official code); False blocks it (mmdet's
            FreeAnchor).

    Returns:
        Tensor: (...).
    """
    rest = 1 - scores
    clamped = rest.clamp(min=1e-12)
    if clamp_gradient:
        clamped = rest + (clamped - rest).detach()
    weight = 1 / clamped
    return (weight * scores).sum(-1) / weight.sum(-1)


def annealed_size(topk: int, progress: float) -> int:
    """Anchors that are selected from a bag of ``topk``.

    ``floor(topk (1 - progress) + progress + 1/2)`` in 1 to ``topk``: all at
    the beginning, one at the end.

    Args:
        topk: Size K of the bag.
        progress: t / T in [0, 1].

    Returns:
        int: Number of anchors.
    """
    size = math.floor(topk * (1 - progress) + progress + 0.5)
    return min(max(size, 1), topk)


def mean_of_best(scores: Tensor, size: int) -> Tensor:
    """Mean of the ``size`` largest of (..., K) scores, shape (...)."""
    return scores.topk(size, dim=-1, sorted=False).values.mean(-1)


@torch.no_grad()
def box_probability(
    pred_boxes: Tensor,
    boxes: Tensor,
    labels: Tensor,
    mask: Tensor,
    num_classes: int,
    bbox_thr: float = 0.6,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Probability that an anchor's prediction is right for a class.

    A line in the IoU with the ground truth, from 0 at ``bbox_thr`` to 1 at
    the best prediction of this ground truth; of several ground truths of the
    class the highest.

    Args:
        pred_boxes: (B, P, 4) pixels.
        boxes: (B, G, 4) pixels.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        num_classes: Number C of classes.
        bbox_thr: IoU at which the line starts.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, P, C) in [0, 1].
    """
    batch, priors = pred_boxes.shape[:2]
    result = pred_boxes.new_zeros(batch, num_classes, priors)
    tiny = torch.finfo(pred_boxes.dtype).tiny
    for part, iou in iou_chunks(
        pred_boxes, boxes, mask, max_elements=max_elements
    ):
        # linear from the threshold to the best prediction of the object
        best = iou.amax(2, keepdim=True).clamp(min=bbox_thr + 1e-12)
        # in float32 the best may equal the threshold
        width = (best - bbox_thr).clamp(min=tiny)
        prob = (iou - bbox_thr).div_(width).clamp_(0, 1)
        # highest over the objects of a class
        index = labels[:, part, None].expand(prob.shape)
        result.scatter_reduce_(1, index, prob, 'amax')
    return result.transpose(1, 2)


def negative_bag_loss(
    cls_prob: Tensor, box_prob: Tensor, gamma: float = 2.0
) -> Tensor:
    """Focal loss of n = cls_prob (1 - box_prob), summed.

    Args:
        cls_prob: (B, P, C) class scores in [0, 1].
        box_prob: (B, P, C) from :func:`box_probability`.
        gamma: Focusing exponent.

    Returns:
        Tensor: Scalar, the sum of ``n ** gamma * -log(1 - n)``.
    """
    # above 0: a power below 1 has no gradient there
    prob = (cls_prob * (1 - box_prob)).clamp(min=1e-12)
    return (prob**gamma * log_loss(prob, 0)).sum()


def best_bag(
    bags: Tensor, weight: Tensor, mask: Tensor, num_priors: int
) -> tuple[Tensor, Tensor]:
    """The ground truth in whose bag each anchor has its largest weight.

    Args:
        bags: (B, G, K) int64 indices of anchors.
        weight: (B, G, K), at least 0.
        mask: (B, G) bool, False for padding.
        num_priors: P.

    Returns:
        tuple: Index of the ground truth (B, P) int64; ties go to the
        first, -1 for anchors in no bag; their weight (B, P), else 1.
    """
    batch, num_gts, _ = bags.shape
    index = bags.flatten(1)
    weight = weight.where(mask[..., None], -1).flatten(1)
    best = weight.new_full((batch, num_priors), -1)
    best = best.scatter_reduce(1, index, weight, 'amax')
    # among bags of equal weight the first
    wins = (weight == best.gather(1, index)) & (weight >= 0)
    gt = torch.arange(num_gts, device=bags.device)
    gt = gt[:, None].expand_as(bags).flatten(1).where(wins, num_gts)
    first = gt.new_full((batch, num_priors), num_gts)
    first = first.scatter_reduce(1, index, gt, 'amin')
    found = first < num_gts
    return first.where(found, -1), best.where(found, 1)
