"""Boxes refined by their masks (MBRM)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_api
import torch
from mmdet.registry import MODELS
from mmdet.structures.mask import BaseInstanceMasks
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...ops.anchor_points import move_ends
from . import functional as rdsnet

# the official kernel, at offsets -4 to 4, and its bias
_KERNEL = (
    *(-0.2968, -0.2892, -0.2635, -3.2545),
    -0.1874,
    *(2.5041, 0.0196, 0.0651, 0.0917),
)
_BIAS = -1.9536


@MODELS.register_module()
class MaskBoundaryRefinement(nn.Module):
    """Moves each border of a box to where its mask begins or ends.

    MBRM of RDSNet, AAAI 2020, arXiv 1912.05070: by Bayes, a Gaussian around
    the predicted border times the likelihood of the mask near a position,
    which is a convolution over the projection of the mask. Scores stay. The
    kernel was learned from masks and boxes, not with a detector; the numbers
    of the official code are the default. They are not trained here and not in
    checkpoints. Borders become whole pixels.

    Args:
        gamma: Standard deviation of the Gaussian in sides of the box.
        sigma_min: The smallest one in pixels.
        prior_cut: Values of the Gaussian up to this one become 0.
        kernel: Weights of the convolution for left and top borders, an odd
            number of them, from outside to inside.
        bias: Of the convolution.

    Raises:
        ValueError: ``kernel`` has an even length, ``gamma`` is negative or
            ``sigma_min`` is not positive.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        gamma: float = 0.05,
        sigma_min: float = 1.0,
        prior_cut: float = 0.0044,
        kernel: Sequence[float] = _KERNEL,
        bias: float = _BIAS,
    ) -> None:
        super().__init__()
        if len(kernel) % 2 == 0:
            raise ValueError(
                f'kernel must have an odd number of weights, got {len(kernel)}'
            )
        if gamma < 0:
            raise ValueError(f'gamma must be at least 0, got {gamma}')
        if sigma_min <= 0:
            raise ValueError(f'sigma_min must be positive, got {sigma_min}')
        self.gamma = gamma
        self.sigma_min = sigma_min
        self.prior_cut = prior_cut
        weight = torch.tensor(kernel, dtype=torch.float32)
        self.register_buffer('weight', weight[None, None], persistent=False)
        self.register_buffer('bias', torch.tensor([bias]), persistent=False)

    def posteriors(self, masks: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """Probabilities of the borders, see ``border_posteriors``.

        Args:
            masks: (N, H, W) probabilities.
            boxes: (N, 4) x1, y1, x2, y2, the first and the last pixel.

        Returns:
            tuple: Left (N, W), top (N, H), right (N, W) and bottom (N, H).
        """
        return rdsnet.border_posteriors(
            masks,
            boxes,
            self.weight.float(),
            self.bias.float(),
            self.gamma,
            self.prior_cut,
            self.sigma_min,
        )

    @torch.no_grad()
    def forward(self, masks: Tensor, boxes: Tensor) -> Tensor:
        """Refined boxes.

        Args:
            masks: (N, H, W) probabilities, or bool.
            boxes: (N, 4) x1, y1, x2, y2 in pixels of the masks; x2 and y2
                are where the box ends.

        Returns:
            Tensor: (N, 4) of the same convention.

        Raises:
            ValueError: As many masks as boxes are expected.
        """
        if len(masks) != len(boxes):
            raise ValueError(
                f'as many masks as boxes are expected, got {len(masks)} and '
                f'{len(boxes)}'
            )
        if not masks.numel():
            return boxes
        with torch.autocast(masks.device.type, enabled=False):
            last = move_ends(boxes.float(), -1)
            rows = self.posteriors(masks.float(), last)
            found = rdsnet.refined_boxes(rows, last)
            return move_ends(found, 1).to(boxes)

    def refine(self, results: InstanceData) -> InstanceData:
        """Detections of any detector with masks.

        Args:
            results: With ``bboxes`` (N, 4) and ``masks`` in pixels of the same
                image: (N, H, W), ``BitmapMasks``, ``PolygonMasks`` or a list
                of N encoded ones (RLE), as ``CocoMetric`` has them.

        Returns:
            InstanceData: A copy with refined boxes.

        Raises:
            ValueError: There are no masks.
        """
        if 'masks' not in results:
            raise ValueError(
                'results must have masks, got '
                f'{", ".join(sorted(results.keys()))}'
            )
        results = results.clone()
        boxes = results.bboxes
        results.bboxes = self(as_tensor(results.masks, boxes), boxes)
        return results


def as_tensor(masks: Any, boxes: Tensor) -> Tensor:
    """Masks (N, H, W) of any form that detectors of mmdet give.

    Args:
        masks: Tensor, array, ``BaseInstanceMasks`` or a list of RLE.
        boxes: (N, 4), where the masks are put.
    """
    if isinstance(masks, Tensor):
        return masks
    if isinstance(masks, BaseInstanceMasks):
        return masks.to_tensor(torch.bool, boxes.device)
    if len(masks) and isinstance(masks[0], dict):
        masks = mask_api.decode(list(masks)).transpose(2, 0, 1)
    return torch.as_tensor(np.asarray(masks), device=boxes.device)
