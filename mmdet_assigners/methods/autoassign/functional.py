"""AutoAssign: bags of weighted points, batched.

Every point inside an object, on every level, belongs to the object's bag. All
levels are concatenated to P points and ground truths are padded to (B, G).
Tensors (B, G, P) are made in chunks of ground truths. If there are several
chunks, their bags are computed again in the backward pass, which adds to one
buffer of gradients, so that memory stays bounded there too.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...ops.anchor_match import pairwise_iou
from ...ops.anchor_points import MAX_ELEMENTS, gt_chunks
from ...ops.cross_entropy import log_loss

CENTER_PRIORS = ('category', 'shared', 'fixed', 'none')
CONFIDENCES = ('joint', 'cls', 'loc', 'none')
NEG_WEIGHTS = ('iou', 'one', 'zero')
EPS = 1e-12


@dataclass(frozen=True)
class Rules:
    """The weights in the losses.

    Attributes:
        center_prior: 'category': a Gaussian per class; 'shared': that of row
            0 for all; 'fixed': mean 0, deviation 1; 'none': 1 in the box.
        confidence: What sharpens the positive weights: 'joint' P = P(cls)
            P(loc), 'cls' or 'loc' one of the factors, 'none' nothing.
        neg_weight: Negative weight of an object's class inside its box: 'iou'
            falls with the IoU of the prediction, 'one' 1, 'zero' 0.
        tau: Temperature of the confidence; 1/3 in the paper.
        lambda_loc: Factor of the box loss in P(loc); 5 in the paper.
        force_topk: Number of points of largest prior that an object without
            points gets; 0 none.
        giou_eps: Minimum union and hull of the GIoU in square pixels.
        max_elements: Bound on the elements of a tensor (B, G, P).
    """

    center_prior: str = 'category'
    confidence: str = 'joint'
    neg_weight: str = 'iou'
    tau: float = 1 / 3
    lambda_loc: float = 5.0
    force_topk: int = 0
    giou_eps: float = 1e-6
    max_elements: int = MAX_ELEMENTS // 4  # a bag keeps many of them

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A value is unknown or out of its range.
        """
        for name, known in (
            ('center_prior', CENTER_PRIORS),
            ('confidence', CONFIDENCES),
            ('neg_weight', NEG_WEIGHTS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f'{name} must be one of {", ".join(known)}, got '
                    f'{getattr(self, name)!r}'
                )
        if not self.tau > 0:
            raise ValueError(f'tau must be positive, got {self.tau}')
        if not self.lambda_loc >= 0:
            raise ValueError(
                f'lambda_loc must be at least 0, got {self.lambda_loc}'
            )
        if self.force_topk < 0:
            raise ValueError(
                f'force_topk must be at least 0, got {self.force_topk}'
            )


@dataclass(frozen=True)
class BagInputs:
    """Points, probabilities, boxes and ground truths of B images.

    Attributes:
        xy: (P, 2) points in pixels.
        stride: (P,) stride of the point's level in pixels.
        cls: (B, P, C) probability of each class, objectness included.
        decoded: (B, P, 4) predicted boxes, xyxy pixels.
        mean: (C, 2) or (1, 2) means of the priors in strides.
        sigma: (C, 2) or (1, 2) deviations of the priors in strides.
        boxes: (B, G, 4) ground truths, xyxy pixels.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
    """

    xy: Tensor
    stride: Tensor
    cls: Tensor
    decoded: Tensor
    mean: Tensor
    sigma: Tensor
    boxes: Tensor
    labels: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Sums:
    """Sums of the losses, before normalization.

    Attributes:
        positive: () sum of the bag losses.
        negative: () sum of the negative losses.
        center: () mean over images of #GT / sum of the prior; 0 for images
            whose objects hold no point and for priors without parameters.
        num_gt: () number of ground truths.
        prior: () sum of the prior over all bags, without gradient.
    """

    positive: Tensor
    negative: Tensor
    center: Tensor
    num_gt: Tensor
    prior: Tensor


def loss_sums(inputs: BagInputs, rules: Rules, gamma: float = 2.0) -> Sums:
    """Sums of the three losses of AutoAssign.

    Args:
        inputs: See :class:`BagInputs`; gradients flow to ``cls``, ``boxes``,
            ``mean`` and ``sigma``.
        rules: Which weights are used.
        gamma: Exponent of the negative loss; 2 in the official code.

    Returns:
        Sums: The loss is ``0.25 positive / max(1, num_gt) + 0.75 negative /
        max(1, prior) + 0.75 center``.
    """
    positive, prior, found = bag_sums(inputs, rules)
    num_gt = inputs.mask.sum(1)
    total = prior.sum(1)
    center = num_gt / total.clamp(min=EPS)
    center = center.where(found.any(1), total * 0).mean()
    if rules.center_prior in ('fixed', 'none'):
        center = center * 0
    weight = negative_weights(inputs, rules)
    return Sums(
        positive=positive,
        negative=negative_loss(inputs.cls, weight, gamma),
        center=center,
        num_gt=num_gt.sum(),
        prior=total.detach().sum(),
    )


def log_prior(inputs: BagInputs, part: slice, prior: str) -> Tensor:
    """Logarithm of the center prior G, (B, g, P) for a slice of objects.

    -((d - mean)^2 / (2 sigma^2)) summed over x and y, d the offset of the
    point from the object's center in strides.
    """
    center = (inputs.boxes[:, part, :2] + inputs.boxes[:, part, 2:]) / 2
    x, y = (
        (place - center[:, :, None, axis]).div_(inputs.stride)
        for axis, place in enumerate(_columns(inputs.xy))
    )
    if prior in ('fixed', 'none'):
        return -(x.square() + y.square()) / 2
    labels = inputs.labels[:, part]
    if prior == 'shared':
        labels = torch.zeros_like(labels)
    mean = inputs.mean[labels][:, :, None]
    sigma = inputs.sigma[labels][:, :, None]
    x = (x - mean[..., 0]).square() / (2 * sigma[..., 0].square())
    y = (y - mean[..., 1]).square() / (2 * sigma[..., 1].square())
    return -(x + y)


def members(inputs: BagInputs, part: slice, rules: Rules) -> Tensor:
    """The bags: points strictly inside each object, (B, g, P) bool.

    With ``force_topk`` an object without points gets those of largest prior.
    """
    x, y = _columns(inputs.xy)
    x1, y1, x2, y2 = inputs.boxes[:, part, None].unbind(-1)
    inside = (x > x1) & (x < x2)
    inside &= y > y1
    inside &= y < y2
    if rules.force_topk:
        k = min(rules.force_topk, inside.shape[-1])
        with torch.no_grad():
            rank = log_prior(inputs, part, rules.center_prior)
        index = rank.topk(k, -1).indices
        nearest = torch.zeros_like(inside).scatter(-1, index, True)
        inside = inside | (nearest & ~inside.any(-1, keepdim=True))
    return inside & inputs.mask[:, part, None]


def class_probs(inputs: BagInputs, part: slice) -> Tensor:
    """Probability (B, g, P) of the class of each object of a slice."""
    labels = inputs.labels[:, part, None]
    labels = labels.expand(-1, -1, len(inputs.xy))
    return inputs.cls.transpose(1, 2).gather(1, labels)


def positive_weights(
    inputs: BagInputs, part: slice, rules: Rules, p_cls: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the points in their bags, not normalized.

    Args:
        inputs: See :class:`BagInputs`; ``cls`` isn't read.
        part: Slice of the ground truths, g of them.
        rules: Which weights are used.
        p_cls: (B, g, P) of :func:`class_probs`.

    Returns:
        tuple: C G (B, g, P), 0 outside of the bags, the joint confidence
        P (B, g, P), the prior G (B, g, P), 0 outside of the bags, and the
        bags (B, g, P) bool.
    """
    # center prior, 0 outside the box
    inside = members(inputs, part, rules)
    if rules.center_prior == 'none':
        prior = inside.to(p_cls)
    else:
        prior = log_prior(inputs, part, rules.center_prior).exp()
        prior = prior.where(inside, 0)
    # joint confidence: class probability times exp(-lambda * box loss)
    giou = pairwise_giou(inputs.boxes[:, part], inputs.decoded, rules.giou_eps)
    p_loc = (-rules.lambda_loc * (1 - giou)).exp()
    joint = p_cls * p_loc
    used = {'joint': joint, 'cls': p_cls, 'loc': p_loc}
    if rules.confidence == 'none':
        return prior, joint, prior, inside
    # sharpened by the temperature
    confidence = (used[rules.confidence] / rules.tau).exp()
    return confidence * prior, joint, prior, inside


def bag_sums(inputs: BagInputs, rules: Rules) -> tuple[Tensor, Tensor, Tensor]:
    """Losses and priors of the bags.

    A bag costs -log of the sum of its normalized weights times P; 100 if it
    is empty, as the logarithm is clamped.

    Args:
        inputs: See :class:`BagInputs`.
        rules: Which weights are used.

    Returns:
        tuple: Sum of the losses (), the sum of the prior over each bag (B, G)
        and which bags have points (B, G) bool.
    """
    batch, num_gts = inputs.mask.shape
    parts = list(gt_chunks(batch, num_gts, len(inputs.xy), rules.max_elements))
    if len(parts) == 1:
        bag, prior, found = _bags(
            inputs, parts[0], rules, class_probs(inputs, parts[0])
        )
    else:
        bag, prior, found = _ChunkedBags.apply(
            inputs.cls,
            inputs.decoded,
            inputs.mean,
            inputs.sigma,
            inputs,
            parts,
            rules,
        )
    loss = log_loss(bag, 1)
    return loss.where(inputs.mask, 0).sum(), prior, found


def _bags(
    inputs: BagInputs, part: slice, rules: Rules, p_cls: Tensor
) -> tuple[Tensor, ...]:
    weight, joint, prior, inside = positive_weights(inputs, part, rules, p_cls)
    norm = weight.sum(-1).clamp(min=EPS)
    # a sum may exceed 1 by rounding, which the cross entropy refuses
    bag = ((weight * joint).sum(-1) / norm).clamp(max=1)
    return bag, prior.sum(-1), inside.any(-1)


class _ChunkedBags(torch.autograd.Function):
    """:func:`_bags` of all chunks, one at a time also in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        cls: Tensor,
        decoded: Tensor,
        mean: Tensor,
        sigma: Tensor,
        inputs: BagInputs,
        parts: list[slice],
        rules: Rules,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cls, decoded, mean, sigma)
        ctx.rest = inputs, parts, rules
        chunks = [
            _bags(inputs, part, rules, class_probs(inputs, part))
            for part in parts
        ]
        bag, prior, found = (
            torch.cat(rows, 1) for rows in zip(*chunks, strict=True)
        )
        ctx.mark_non_differentiable(found)
        return bag, prior, found

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, bag: Tensor, prior: Tensor, found: Tensor
    ) -> tuple[Tensor | None, ...]:
        inputs, parts, rules = ctx.rest
        names = ('cls', 'decoded', 'mean', 'sigma')
        saved = dict(zip(names, ctx.saved_tensors, strict=True))
        leaves = {k: v.detach() for k, v in saved.items()}
        inputs = replace(inputs, **leaves)
        for name in names[1:]:
            leaves[name].requires_grad_()
        total = torch.zeros_like(saved['cls'])
        sums: dict[str, Tensor] = {}  # what isn't used gets None
        for part in parts:
            with torch.enable_grad():
                p_cls = class_probs(inputs, part).requires_grad_()
                outs = _bags(inputs, part, rules, p_cls)[:2]
            grads = torch.autograd.grad(
                [out for out in outs if out.requires_grad],
                [p_cls, *(leaves[name] for name in names[1:])],
                [
                    grad[:, part]
                    for out, grad in zip(outs, (bag, prior), strict=True)
                    if out.requires_grad
                ],
                allow_unused=True,
            )
            labels = inputs.labels[:, part, None].expand_as(p_cls)
            total.transpose(1, 2).scatter_add_(1, labels, grads[0])
            for name, grad in zip(names[1:], grads[1:], strict=True):
                if grad is not None:
                    sums[name] = sums[name] + grad if name in sums else grad
        return total, *map(sums.get, names[1:]), None, None, None


@torch.no_grad()
def negative_weights(inputs: BagInputs, rules: Rules) -> Tensor:
    """Factor of each probability in the negative loss.

    1, but for the class of an object inside its box: 1 - f(1 / (1 - IoU)), f
    the min-max normalization over the bag and IoU that of the prediction with
    its best object. Of several objects of a class the last one decides.

    Args:
        inputs: See :class:`BagInputs`.
        rules: Which weights are used.

    Returns:
        Tensor: (B, P, C) in [0, 1], without gradient.
    """
    batch, num_gts = inputs.mask.shape
    points, classes = inputs.cls.shape[1:]
    if rules.neg_weight == 'one':
        return torch.ones_like(inputs.cls)
    parts = list(gt_chunks(batch, num_gts, points, rules.max_elements))
    # best IoU of each prediction with any object
    iou = inputs.cls.new_zeros(batch, points)
    if rules.neg_weight == 'iou':
        for part in parts:
            overlap = pairwise_iou(inputs.boxes[:, part], inputs.decoded)
            overlap.masked_fill_(~inputs.mask[:, part, None], 0)
            iou = torch.maximum(iou, overlap.amax(1))
    quality = 1 / (1 - iou).clamp(min=EPS)
    # the last object of a class decides; classes before points, and numbers
    # of objects in one buffer for all chunks
    last = torch.full(
        (batch, classes, points), -1, dtype=torch.int, device=iou.device
    )
    bounds = []  # of the quality inside each box
    for part in parts:
        inside = members(inputs, part, rules)
        number = torch.arange(
            part.start, part.stop, dtype=torch.int, device=iou.device
        )
        labels = inputs.labels[:, part, None].expand_as(inside)
        number = number[:, None].where(inside, -1)
        last.scatter_reduce_(1, labels, number, 'amax')
        if rules.neg_weight == 'iou':
            every = quality[:, None]
            low = every.where(inside, torch.inf).amin(-1)
            high = every.where(inside, -torch.inf).amax(-1)
            bounds.append(torch.stack((low, high)))
    if rules.neg_weight == 'zero':
        return (last < 0).to(iou).transpose(1, 2)
    # min-max normalized
    low, high = torch.cat(bounds, 2)
    index = last.flatten(1).clamp(min=0).long()
    low = low.gather(1, index).view_as(last)
    high = high.gather(1, index).view_as(last)
    weight = (quality[:, None] - low).add_(EPS).div_(high.sub_(low).add_(EPS))
    weight = weight.neg_().add_(1).masked_fill_(last < 0, 1)
    return weight.transpose(1, 2)


def negative_loss(probs: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Sum of (w q)^gamma BCE(w q, 0).

    Args:
        probs: (B, P, C) probabilities q.
        weight: (B, P, C) factors w in [0, 1].
        gamma: Exponent, at least 0.

    Returns:
        Tensor: ().
    """
    scaled = probs * weight
    loss = log_loss(scaled, 0)
    if 0 < gamma < 1:  # the power has no slope at 0
        scaled = scaled.clamp(min=torch.finfo(scaled.dtype).tiny)
    return (scaled**gamma * loss).sum()


@torch.no_grad()
def in_any_bag(inputs: BagInputs, rules: Rules) -> Tensor:
    """Which points belong to a bag, (B, P) bool."""
    batch, num_gts = inputs.mask.shape
    points = len(inputs.xy)
    found = inputs.mask.new_zeros(batch, points)
    for part in gt_chunks(batch, num_gts, points, rules.max_elements):
        found |= members(inputs, part, rules).any(1)
    return found


@torch.no_grad()
def strongest_bag(inputs: BagInputs, rules: Rules) -> tuple[Tensor, Tensor]:
    """The object in whose bag each point has its largest share.

    Args:
        inputs: See :class:`BagInputs`.
        rules: Which weights are used.

    Returns:
        tuple: Index of the object (B, P), -1 outside of all bags, and the
        weight there, relative to the largest of the bag, 1 outside.
    """
    batch, num_gts = inputs.mask.shape
    best = inputs.cls.new_full((batch, len(inputs.xy)), -1)
    index = torch.full_like(best, -1, dtype=torch.long)
    for part in gt_chunks(batch, num_gts, best.shape[1], rules.max_elements):
        p_cls = class_probs(inputs, part)
        weight, _, _, inside = positive_weights(inputs, part, rules, p_cls)
        most = weight.amax(-1, keepdim=True).clamp(min=EPS)
        share, own = (weight / most).where(inside, -1).max(1)
        index = torch.where(share > best, own + part.start, index)
        best = torch.maximum(best, share)
    return index, best.where(index >= 0, 1)


def boxes_of(xy: Tensor, ltrb: Tensor) -> Tensor:
    """Boxes (B, P, 4) of distances (B, P, 4) from points (P, 2), pixels."""
    return torch.cat((xy - ltrb[..., :2], xy + ltrb[..., 2:]), -1)


def pairwise_giou(boxes: Tensor, decoded: Tensor, eps: float = 1e-6) -> Tensor:
    """Generalized IoU of every ground truth with every prediction.

    Args:
        boxes: (B, G, 4) ground truths, xyxy pixels.
        decoded: (B, P, 4) xyxy pixels; gradients flow to them.
        eps: Minimum union and hull in square pixels.

    Returns:
        Tensor: (B, G, P) in [-1, 1].
    """
    x1, y1, x2, y2 = boxes[:, :, None].unbind(-1)
    px1, py1, px2, py2 = _columns(decoded[:, None])
    # intersection, union, enclosing box
    width = torch.minimum(px2, x2) - torch.maximum(px1, x1)
    height = torch.minimum(py2, y2) - torch.maximum(py1, y1)
    overlap = width.clamp(min=0) * height.clamp(min=0)
    area = (px2 - px1) * (py2 - py1)
    union = (area + (x2 - x1) * (y2 - y1) - overlap).clamp(min=eps)
    hull = (torch.maximum(px2, x2) - torch.minimum(px1, x1)) * (
        torch.maximum(py2, y2) - torch.minimum(py1, y1)
    )
    hull = hull.clamp(min=eps)
    return overlap / union - (hull - union) / hull


def _columns(values: Tensor) -> list[Tensor]:
    """The last dimension as contiguous tensors; strided ones are slow."""
    return [column.contiguous() for column in values.unbind(-1)]
