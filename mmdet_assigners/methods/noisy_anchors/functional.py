"""Learning from Noisy Anchors: matching, cleanliness and soft losses.

Li et al., CVPR 2020, arXiv 1912.05086. Dimensions: B images, G ground truths,
P anchors, C classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...ops.anchor_match import IGNORED, NEGATIVE, iou_chunks, pairwise_iou
from ...ops.anchor_points import MAX_ELEMENTS

MODES = ('official', 'paper')
_EPS = 1e-6


class TopNMatch(NamedTuple):
    """Positives by rank of IoU.

    Attributes:
        gt: (B, P) int64 ground truth of highest IoU of anchors in some list,
            ``NEGATIVE``, or ``IGNORED`` where ``valid`` is False.
        iou: (B, P) highest IoU of each anchor.
        lists: (B, P) int64, in how many lists the anchor is.
    """

    gt: Tensor
    iou: Tensor
    lists: Tensor


class Cleanliness(NamedTuple):
    """Soft labels and weights of the anchors.

    Attributes:
        label: (B, P) soft label in [0, 1], 0 where not positive.
        weight: (B, P) weight of the losses, 1 where not positive.
    """

    label: Tensor
    weight: Tensor


def topn_match(
    priors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    topn: int,
    min_iou: float = 0.0,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> TopNMatch:
    """The ``topn`` anchors of highest IoU of each ground truth.

    1. Each ground truth lists its ``topn`` anchors of highest IoU (all if
       there are fewer). Ties go to the later anchor, as in the official code
       if its sort, which isn't guaranteed to be stable, keeps their order.
    2. An anchor of any list is positive and belongs to the ground truth of
       **its** highest IoU (ties go to the first), which need not be the
       one that lists it. All others are negative.

    Args:
        priors: (P, 4) or (B, P, 4) in pixels.
        boxes: (B, G, 4) in pixels.
        mask: (B, G) bool, False for padding.
        topn: Length N of a list; 30 in the released configs.
        min_iou: Minimum IoU in a list. 0, as official, lets anchors without
            overlap in if a ground truth has too few others.
        valid: (B, P) bool; other anchors are ignored.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        TopNMatch: Ground truth, IoU and number of lists of each anchor.
    """
    shape = (len(mask), priors.shape[-2])
    best = boxes.new_zeros(shape)
    argmax = torch.zeros(shape, dtype=torch.long, device=boxes.device)
    lists = torch.zeros_like(argmax)
    for part, iou in iou_chunks(priors, boxes, mask, valid, max_elements):
        # best ground truth of each anchor
        highest, index = iou.max(1)
        argmax = torch.where(highest > best, index + part.start, argmax)
        best = torch.maximum(best, highest)
        # in how many lists it is
        listed = _topn_mask(iou, topn) & (iou >= max(min_iou, 0.0))
        lists += listed.sum(1)
    gt = argmax.where(lists > 0, NEGATIVE)
    if valid is not None:
        gt = gt.where(valid, IGNORED)
    return TopNMatch(gt, best, lists)


def _topn_mask(values: Tensor, topn: int) -> Tensor:
    """The N largest of each row (..., P); ties go to the last."""
    topn = min(topn, values.shape[-1])
    if topn == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    bound = values.topk(topn).values[..., -1:]
    above, equal = values > bound, values == bound
    # of the values equal to the bound the last ones fill the list
    from_end = equal.flip(-1).cumsum(-1).flip(-1)
    return above | (equal & (from_end <= topn - above.sum(-1, keepdim=True)))


def aligned_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of corresponding boxes, without gradient.

    Args:
        boxes: (..., 4) x1, y1, x2, y2 in pixels.
        others: (..., 4) in pixels.

    Returns:
        Tensor: (...) in [0, 1].
    """
    pairs = (x.reshape(-1, 1, 4) for x in (boxes, others))
    return pairwise_iou(*pairs).view(boxes.shape[:-1])


def cleanliness(
    score: Tensor,
    iou: Tensor,
    lists: Tensor,
    alpha: float,
    gamma: float = 1.0,
    soft_label_mode: str = 'official',
    weight_mode: str = 'official',
) -> Cleanliness:
    """Soft labels c and weights r of the positives of each image.

    With q the score, l the IoU, f(x) = 1 / (1 - x), and means, minimum and
    maximum over all entries of all lists of an image, so that an anchor in
    two lists counts twice:

    * labels 'paper': c = alpha l + (1 - alpha) q. 'official': the same with
      l and q divided by their means, then mapped linearly to
      [mean l, 1]; mean l for all if all are equal.
    * weights 'paper': r = (alpha f(l) + (1 - alpha) f(q)) ** gamma, divided by
      its mean. 'official': f(l) and f(q) are divided by their means first.

    The official code divides by zero where a score is 1, all labels are equal
    or all IoUs are 0; here 1 - x is at least 1e-6 and 0 / 0 is 0.

    Args:
        score: (B, P) probability of the class of the matched ground truth.
        iou: (B, P) IoU of the predicted box with it.
        lists: (B, P) int64, 0 for negatives.
        alpha: Share of localization against classification; 0.75.
        gamma: Exponent of the weights; 1. With 0 all weights are 1.
        soft_label_mode: 'official' or 'paper'.
        weight_mode: 'official' or 'paper'.

    Returns:
        Cleanliness: Constants of the losses.
    """
    with torch.no_grad():
        count = lists.to(iou)
        positive = lists > 0
        if soft_label_mode == 'official':
            label = _official_labels(score, iou, count, positive, alpha)
        else:
            label = alpha * iou + (1 - alpha) * score
        terms = (1 / (1 - x).clamp(min=_EPS) for x in (iou, score))
        if weight_mode == 'official':
            terms = (x / _mean(x, count) for x in terms)
        by_iou, by_score = terms
        weight = (alpha * by_iou + (1 - alpha) * by_score).pow(gamma)
        weight = weight / _mean(weight, count)
        return Cleanliness(label.where(positive, 0), weight.where(positive, 1))


def _mean(values: Tensor, count: Tensor) -> Tensor:
    """Mean over the lists of each image, (B, 1), never 0."""
    total = (values * count).sum(1, keepdim=True)
    tiny = torch.finfo(values.dtype).tiny
    return (total / count.sum(1, keepdim=True).clamp(min=1)).clamp(min=tiny)


def _official_labels(
    score: Tensor, iou: Tensor, count: Tensor, positive: Tensor, alpha: float
) -> Tensor:
    mean = _mean(iou, count)
    raw = alpha * iou / mean + (1 - alpha) * score / _mean(score, count)
    low = raw.where(positive, float('inf')).amin(1, keepdim=True)
    high = raw.where(positive, float('-inf')).amax(1, keepdim=True)
    spread = high - low
    # equal labels have no spread and get the lower end; rounding errors of the
    # sums must not count as spread
    flat = spread <= 8 * torch.finfo(raw.dtype).eps * high.abs()
    rank = (raw - low) / spread.masked_fill(flat, 1)
    return mean + rank.masked_fill(flat, 0) * (1 - mean)


def soft_focal_loss(
    logits: Tensor,
    labels: Tensor,
    soft_targets: Tensor,
    alpha: float = 0.5,
    gamma: float = 2.0,
) -> Tensor:
    """Focal loss against soft labels, element-wise.

    With S the soft target at the class and 0 elsewhere, and p the sigmoid:
    ``-alpha S (1 - p)^gamma log p - (1 - alpha) (1 - S) p^gamma log(1 - p)``.
    Soft entries have both terms. Finite for every logit.

    Args:
        logits: (N, C).
        labels: (N,) int64 in [0, C], C for background.
        soft_targets: (N,) in [0, 1]; not used on background.
        alpha: Weight of the first term; 0.5.
        gamma: Focusing exponent; 2.

    Returns:
        Tensor: (N, C).
    """
    # everywhere the second term for S = 0, then the difference at the class
    if gamma == 2:
        factor = logits.sigmoid().square()
    else:  # p^gamma with a finite slope at p = 0
        factor = (gamma * F.logsigmoid(logits)).exp()
    loss = (1 - alpha) * factor * F.softplus(logits, threshold=40)
    index = labels.clamp(max=logits.shape[1] - 1)[:, None]
    own = logits.gather(1, index)
    log_p, log_q = F.logsigmoid(own), F.logsigmoid(-own)
    first = -alpha * (gamma * log_q).exp() * log_p
    second = -(1 - alpha) * (gamma * log_p).exp() * log_q
    soft = soft_targets.where(labels < logits.shape[1], 0)[:, None]
    return loss.scatter_add(1, index, soft * (first - second))


def reweighted_sum(loss: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum, rescaled to the value of the plain sum.

    ``kappa sum(weight loss)`` with the constant ``kappa = sum(loss) /
    sum(weight loss)``, 1 if that is 0 / 0: the weights move gradient between
    anchors, and the value stays.

    Args:
        loss: (...) at least 0.
        weight: (...) constants, broadcast against ``loss``.

    Returns:
        Tensor: Scalar.
    """
    weighted = (loss * weight).sum()
    total, scaled = loss.detach().sum(), weighted.detach()
    kappa = torch.where(scaled > 0, total / scaled, 1.0)
    return weighted * kappa


def update_normalizer(
    normalizer: Tensor, num_positives: Tensor, momentum: float = 0.9
) -> Tensor:
    """Moving average of the number of positives after this step.

    Args:
        normalizer: Scalar before it.
        num_positives: Scalar, of the batch of this process.
        momentum: Share of the old value; 0.9.

    Returns:
        Tensor: Scalar; losses are divided by it, or by 1 if it is less.
    """
    return momentum * normalizer + (1 - momentum) * num_positives
