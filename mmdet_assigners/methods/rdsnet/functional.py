"""RDSNet: masks by correlation, their loss, and boxes refined by masks.

Wang et al., AAAI 2020, arXiv 1912.05070. Names of dimensions: N objects of an
image, d channels of the embedding, (h, w) size of the pixel map, (H, W) size
of the masks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def correlate(pixels: Tensor, reps: Tensor) -> Tensor:
    """Mask logits of objects, their correlation with every pixel.

    Args:
        pixels: (d, h, w) embedding of the pixels.
        reps: (N, 2 d) representations: d numbers of the background, then d of
            the foreground.

    Returns:
        Tensor: (N, h, w, 2) logits of background and foreground.
    """
    kernels = reps.unflatten(1, (2, len(pixels)))
    return torch.einsum('dhw,ncd->nhwc', pixels, kernels)


def inner_size(
    size: Sequence[int], inner: Sequence[int], outer: Sequence[int]
) -> tuple[int, int]:
    """Rows and columns of a map that an image covers, without its padding.

    Args:
        size: Height and width of the map.
        inner: Height and width of the image in pixels.
        outer: Height and width in pixels of what the map covers.
    """
    rows, columns = (
        side * part // whole
        for side, part, whole in zip(size, inner[:2], outer[:2], strict=True)
    )
    return rows, columns


def inside_crop(
    boxes: Tensor, padding: float, height: int, width: int
) -> Tensor:
    """Pixels inside of boxes that are made larger on each side.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the mask, corners in any
            order.
        padding: How much larger: below 1 in sides of the box, but at least a
            pixel, from 1 on in pixels.
        height: Height H of the mask.
        width: Its width W.

    Returns:
        Tensor: (N, H, W) bool.
    """
    boxes = boxes.float()  # whole pixels: rounding matters
    insides = []
    for axis, size in ((1, height), (0, width)):
        start, end = boxes[:, axis::2].aminmax(dim=1)
        if 0 < padding < 1:
            extra = (padding * (end - start + 1)).clamp(min=1)
        else:
            extra = torch.full_like(start, padding)
        start = (start - extra).clamp(min=0).long()[:, None]
        end = (end + extra).clamp(max=size).long()[:, None]
        at = torch.arange(size, device=boxes.device)
        insides.append((at >= start) & (at < end))
    return insides[0][:, :, None] & insides[1][:, None]


def mask_targets(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Ground-truth masks at the resolution of the logits.

    Args:
        masks: (N, H, W) bool or 0 and 1.
        size: Height h and width w.

    Returns:
        Tensor: (N, h, w) bool.
    """
    if masks.shape[1:] == torch.Size(size):
        return masks > 0.5
    rows = masks[:, None].float()
    return F.interpolate(rows, tuple(size), mode='bilinear')[:, 0] > 0.5


def hard_negatives(
    losses: Tensor, positive: Tensor, negative: Tensor, ratio: float
) -> Tensor:
    """The negatives of highest loss, so many for each positive.

    Args:
        losses: (N, M) of the M pixels of each object.
        positive: (N, M) bool.
        negative: (N, M) bool.
        ratio: Negatives per positive.

    Returns:
        Tensor: (N, M) bool; ties go to the first.
    """
    order = losses.masked_fill(~negative, -1).argsort(
        dim=1, descending=True, stable=True
    )
    ranks = torch.arange(losses.shape[1], device=losses.device)
    rank = torch.empty_like(order).scatter_(1, order, ranks.expand_as(order))
    count = (ratio * positive.sum(1, keepdim=True)).clamp(
        max=losses.shape[1] - 1
    )
    return negative & (rank < count)


def mask_losses(
    logits: Tensor,
    boxes: Tensor,
    target: Tensor,
    padding: float = 0.25,
    ohem: bool = True,
    neg_pos_ratio: float = 1,
) -> Tensor:
    """Cross entropy of each object inside of its enlarged box.

    Args:
        logits: (N, h, w, 2) of background and foreground.
        boxes: (N, 4) ground truths in pixels of the logits.
        target: (N, h, w) bool, the mask.
        padding: See :func:`inside_crop`.
        ohem: Of the background inside of the box only the pixels of highest
            loss are trained.
        neg_pos_ratio: How many of them for each pixel of the foreground.

    Returns:
        Tensor: (N,) sum over the trained pixels / (their number + 1).
    """
    inside = inside_crop(boxes, padding, *target.shape[1:]).flatten(1)
    target = target.flatten(1)
    # cross entropy of two classes; softmax over pairs is slow
    margin = (logits[..., 1] - logits[..., 0]).flatten(1)
    losses = F.softplus(margin.where(~target, -margin))
    trained = inside
    if ohem:
        positive = inside & target
        trained = positive | hard_negatives(
            losses.detach(), positive, inside & ~target, neg_pos_ratio
        )
    return losses.where(trained, 0).sum(1) / (trained.sum(1) + 1)


def foreground(
    logits: Tensor,
    pad_shape: Sequence[int],
    img_shape: Sequence[int],
    ori_shape: Sequence[int] | None = None,
) -> Tensor:
    """Probability of the foreground in pixels of the image.

    Args:
        logits: (N, h, w, 2) of background and foreground.
        pad_shape: Height and width of the padded image.
        img_shape: Of the image.
        ori_shape: Of the image before its resizing, to give masks of that.

    Returns:
        Tensor: (N, H, W) of ``img_shape`` or ``ori_shape``.
    """
    # resizing is linear: that of the difference is the difference
    margin = (logits[..., 1] - logits[..., 0])[:, None]
    if margin.shape[2:] != torch.Size(pad_shape[:2]):
        margin = F.interpolate(margin, tuple(pad_shape[:2]), mode='bilinear')
    margin = margin[..., : img_shape[0], : img_shape[1]]
    if ori_shape is not None:
        margin = F.interpolate(
            margin, tuple(ori_shape[:2]), mode='bilinear', align_corners=True
        )
    return margin[:, 0].sigmoid()


def border_prior(
    border: Tensor, sigma: Tensor, size: int, cut: float
) -> Tensor:
    """Gaussian of each position around the border of a box.

    Args:
        border: (N,) position in pixels.
        sigma: (N,) standard deviation in pixels.
        size: Number of positions W.
        cut: Values up to this one become 0.

    Returns:
        Tensor: (N, W), not normalized.
    """
    at = torch.arange(size, device=border.device, dtype=border.dtype)
    distance = (at - border[:, None]) / sigma[:, None]
    prior = (-distance.square() / 2).exp()
    return prior.where(prior > cut, 0)


def border_posteriors(
    masks: Tensor,
    boxes: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: float = 0.05,
    prior_cut: float = 0.0044,
    sigma_min: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where the borders of boxes are, given their masks (MBRM).

    Bayes: a Gaussian prior around the border of the box, and the likelihood of
    the mask near a position, which is a convolution over the projection of
    the mask on the axis.

    Args:
        masks: (N, H, W) probabilities, cropped by the boxes.
        boxes: (N, 4) x1, y1, x2, y2, the first and the last pixel.
        weight: (1, 1, k) kernel for the left and the top border, k odd;
            mirrored for the others.
        bias: (1,) of the convolution.
        gamma: Standard deviation of the prior in sides of the box.
        prior_cut: Values of the prior up to this one become 0.
        sigma_min: The smallest standard deviation in pixels.

    Returns:
        tuple: Probabilities of left (N, W), top (N, H), right (N, W) and
        bottom (N, H); all 0 if the border is so far outside of the image that
        the prior is.
    """
    axes = []
    for axis in (0, 1):
        # ties of the maximum go to the first pixel
        profile = masks.max(1 + axis).values
        first, last = boxes[:, axis], boxes[:, axis + 2]
        sigma = ((last - first) * gamma).clamp(min=sigma_min)
        for border, kernel in ((first, weight), (last, weight.flip(2))):
            logits = F.conv1d(
                profile[:, None], kernel, bias, padding=weight.shape[2] // 2
            )[:, 0]
            joint = logits.sigmoid() * border_prior(
                border, sigma, profile.shape[1], prior_cut
            )
            total = joint.sum(1, keepdim=True)
            axes.append(joint / total.where(total > 0, 1))
    left, right, top, bottom = axes
    return left, top, right, bottom


def refined_boxes(posteriors: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Boxes of the most probable borders.

    Args:
        posteriors: Of :func:`border_posteriors`.
        boxes: (N, 4) boxes; what has no posterior stays.

    Returns:
        Tensor: (N, 4) x1, y1, x2, y2, the first and the last pixel.
    """
    borders = [
        row.argmax(1).to(boxes).where((row > 0).any(1), boxes[:, index])
        for index, row in enumerate(posteriors)
    ]
    return torch.stack(borders, 1)
