"""Batched IoU matching of priors and ground truths.

Ground truths are padded to (B, G) with a mask
(:func:`~mmdet_assigners.ops.anchor_points.pad_gts`); work on (B, G, P) tensors
is done in chunks of ground truths, so memory stays bounded with thousands of
them. Indices of ground truths: 0 to G - 1, ``NEGATIVE`` or ``IGNORED``.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .anchor_points import MAX_ELEMENTS, gt_chunks

NEGATIVE, IGNORED = -1, -2


class Match(NamedTuple):
    """Best ground truth of each prior.

    Attributes:
        gt: (B, P) int64 index, ``NEGATIVE`` or ``IGNORED``.
        iou: (B, P) IoU with the best ground truth, 0 where there is none.
        argmax: (B, P) int64 index of the best ground truth, whether or not it
            is matched; 0 where every IoU is 0.
    """

    gt: Tensor
    iou: Tensor
    argmax: Tensor


def pairwise_iou(
    boxes: Tensor,
    priors: Tensor,
    plus_one: bool = False,
    min_union: float | None = None,
) -> Tensor:
    """IoU of every box with every prior of its image, without gradient.

    Args:
        boxes: (B, G, 4) x1, y1, x2, y2 in pixels.
        priors: (P, 4) or (B, P, 4), in pixels.
        plus_one: The size of a box is x2 - x1 + 1, as in Caffe detectors.
        min_union: Lower bound of the union in square pixels; None: the
            smallest positive number.

    Returns:
        Tensor: (B, G, P) in [0, 1]; 0 where a box has no area.
    """
    with torch.no_grad():
        # the +1 goes to the far sides: overlap and areas then count it once
        far = priors[..., 2:] + 1 if plus_one else priors[..., 2:]
        # contiguous coordinates: strided ones take several times as long
        near = priors[..., :2].unsqueeze(-3)
        px1, py1 = (side.contiguous() for side in near.unbind(-1))
        px2, py2 = (side.contiguous() for side in far.unsqueeze(-3).unbind(-1))
        far = boxes[..., 2:] + 1 if plus_one else boxes[..., 2:]
        x1, y1 = boxes[:, :, None, :2].unbind(-1)
        x2, y2 = far[:, :, None].unbind(-1)
        width = torch.minimum(px2, x2).sub_(torch.maximum(px1, x1))
        height = torch.minimum(py2, y2).sub_(torch.maximum(py1, y1))
        overlap = width.clamp_(min=0).mul_(height.clamp_(min=0))
        area = (px2 - px1).clamp(min=0) * (py2 - py1).clamp(min=0)
        own = (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)
        union = (area + own).sub_(overlap)
        if min_union is None:
            min_union = torch.finfo(union.dtype).tiny
        return overlap.div_(union.clamp_(min=min_union))


def iou_chunks(
    priors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Iterator[tuple[slice, Tensor]]:
    """Slices over G with their IoU (B, slice, P).

    Args:
        priors: (P, 4) or (B, P, 4) in pixels.
        boxes: (B, G, 4) in pixels.
        mask: (B, G) bool, False for padding, whose IoU is -1.
        valid: (B, P) bool, False for priors that are excluded: IoU -1.
        max_elements: Bound on the size of a chunk.

    Yields:
        The slice and its IoU.
    """
    batch, num_gts = mask.shape
    for part in gt_chunks(batch, num_gts, priors.shape[-2], max_elements):
        iou = pairwise_iou(boxes[:, part], priors)
        iou.masked_fill_(~mask[:, part, None], -1)
        if valid is not None:
            iou.masked_fill_(~valid[:, None], -1)
        yield part, iou


class BestMatches(NamedTuple):
    """Extremes of overlaps that were seen chunk by chunk.

    Attributes:
        overlap: (B, P) highest overlap of each prior.
        argmax: (B, P) int64 index of its ground truth, the first of several;
            0 where none exceeds the start value.
        claim: (B, P) int64 index of the ground truth whose highest overlap it
            is, the last of several; -1 without one.
    """

    overlap: Tensor
    argmax: Tensor
    claim: Tensor


def best_matches(
    chunks: Iterable[tuple[slice, Tensor]],
    start: Tensor,
    min_claim: float | None = None,
    zero_claims: bool = False,
    all_ties: bool = True,
) -> BestMatches:
    """Best ground truth of each prior and best priors of each ground truth.

    Each overlap is seen once, so only one chunk exists at a time.

    Args:
        chunks: Slices over G with their overlaps (B, slice, P), P > 0 if
            there are claims.
        start: (B, P) overlap that a ground truth must exceed.
        min_claim: A ground truth claims the priors of its highest overlap if
            that is at least this; None: it claims none.
        zero_claims: Also if that overlap is 0.
        all_ties: It claims all of several such priors, else the first.

    Returns:
        BestMatches: Of all chunks.
    """
    best, argmax = start, torch.zeros_like(start, dtype=torch.long)
    claim = torch.full_like(argmax, NEGATIVE)
    for part, overlaps in chunks:
        # a later chunk wins only if it is better: ties go to the first
        highest, index = overlaps.max(1)
        argmax = torch.where(highest > best, index + part.start, argmax)
        best = torch.maximum(best, highest)
        if min_claim is None:
            continue
        if all_ties:
            own = overlaps.amax(2, keepdim=True)
            best_priors = overlaps == own
        else:
            own, first = overlaps.max(2, keepdim=True)
            best_priors = torch.zeros_like(overlaps, dtype=torch.bool)
            best_priors.scatter_(2, first, True)
        claims = own >= min_claim
        if not zero_claims:
            claims &= own > 0
        # bytes, where they suffice: there are as many as overlaps
        count = overlaps.shape[1]
        number = torch.arange(
            1,
            count + 1,
            dtype=torch.uint8 if count < 256 else torch.int32,
            device=claim.device,
        )
        rank = best_priors * (number[:, None] * claims)
        last = rank.amax(1).long() - 1
        claim = torch.where(last >= 0, last + part.start, claim)
    return BestMatches(best, argmax, claim)


def max_iof(
    priors: Tensor,
    regions: Tensor,
    of_regions: bool = False,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Largest share of each prior that one region covers, without gradient.

    Args:
        priors: (P, 4) or (B, P, 4) in pixels.
        regions: (B, R, 4) in pixels; padding has no area.
        of_regions: The share of the region that the prior covers instead.
        max_elements: Bound on the size of the (B, R, P) tensors.

    Returns:
        Tensor: (B, P) in [0, 1].
    """
    batch, count = regions.shape[:2]
    highest = regions.new_zeros(batch, priors.shape[-2])
    priors = priors.detach().unsqueeze(-3)
    for part in gt_chunks(batch, count, priors.shape[-2], max_elements):
        chunk = regions[:, part, None]
        near = torch.maximum(priors[..., :2], chunk[..., :2])
        far = torch.minimum(priors[..., 2:], chunk[..., 2:])
        whole = chunk if of_regions else priors
        area = (whole[..., 2:] - whole[..., :2]).prod(-1)
        share = (far - near).clamp(min=0).prod(-1) / area.clamp(min=1e-6)
        highest = torch.maximum(highest, share.amax(1))
    return highest


def iou_bounds(neg_iou_thr: float | Sequence[float]) -> tuple[float, float]:
    """The range of IoU of negatives, as mmdet's ``neg_iou_thr`` gives it.

    Args:
        neg_iou_thr: A number is the upper end of a range from 0.

    Returns:
        tuple: Both ends.

    Raises:
        ValueError: It is a sequence of another length than 2.
    """
    if not isinstance(neg_iou_thr, Sequence):
        return 0.0, neg_iou_thr
    if len(neg_iou_thr) != 2:
        raise ValueError(
            'neg_iou_thr must be a number or a pair (minimum, maximum), got '
            f'{tuple(neg_iou_thr)}'
        )
    return neg_iou_thr[0], neg_iou_thr[1]


def max_iou_match(
    priors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    pos_iou_thr: float,
    neg_iou_thr: float | Sequence[float],
    low_quality: str | None = None,
    min_pos_iou: float = 0.0,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Match:
    """Match each prior with the ground truth of highest IoU.

    1. IoU >= ``pos_iou_thr``: matched with its best ground truth (ties
       go to the first); IoU < ``neg_iou_thr``: negative; others: ignored.
       Without ground truths all are negative.
    2. ``low_quality``: each ground truth also gets the priors that have its
       best IoU, ties included, if that is at least ``min_pos_iou`` and not 0.
       'own' (maskrcnn-benchmark): such a prior is assigned to **its own**
       best ground truth. 'gt' (mmdet): to the ground truth for which it is
       best; of several the last.

    Args:
        priors: (P, 4) or (B, P, 4) in pixels.
        boxes: (B, G, 4) in pixels.
        mask: (B, G) bool, False for padding.
        pos_iou_thr: Minimum IoU of a match.
        neg_iou_thr: Upper end of the IoU of negatives, which it excludes, or
            (lower end, upper end).
        low_quality: None, 'own' or 'gt'.
        min_pos_iou: Minimum IoU of a low-quality match.
        valid: (B, P) bool; others are ignored and match nothing.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Match: Ground truth, IoU and arg-max of each prior.

    Raises:
        ValueError: ``low_quality`` is unknown, or ``neg_iou_thr`` is neither.
    """
    if low_quality not in (None, 'own', 'gt'):
        raise ValueError(
            f"low_quality must be None, 'own' or 'gt', got {low_quality!r}"
        )
    if priors.shape[-2] == 0:
        low_quality = None  # no prior to choose
    found = best_matches(
        iou_chunks(priors, boxes, mask, valid, max_elements),
        boxes.new_zeros(len(mask), priors.shape[-2]),
        min_pos_iou if low_quality else None,
    )
    best, argmax, claim = found
    gt = argmax.masked_fill(best < pos_iou_thr, IGNORED)
    low, high = iou_bounds(neg_iou_thr)
    negative = best < high
    if low > 0:
        # without ground truths all are negative
        negative = negative & (best >= low) | ~mask.any(1, keepdim=True)
    else:
        negative = negative | (best <= 0)
    gt = gt.masked_fill(negative, NEGATIVE)
    if low_quality:
        owner = argmax if low_quality == 'own' else claim
        gt = owner.where(claim >= 0, gt)
    if valid is not None:
        gt = gt.masked_fill(~valid, IGNORED)
    return Match(gt, best, argmax)


def gather_gts(values: Tensor, index: Tensor) -> Tensor:
    """Values (B, G, ...) of the ground truths ``index`` (B, N).

    Negative indices read the first ground truth; mask what comes out.

    Args:
        values: (B, G, ...).
        index: (B, N) int64.

    Returns:
        Tensor: (B, N, ...).
    """
    rows = torch.arange(len(values), device=index.device)[:, None]
    return values[rows, index.clamp(min=0)]
