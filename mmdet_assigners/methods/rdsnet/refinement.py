"""Boxes refined by their masks (MBRM)."""

import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...ops.anchor_points import move_ends
from . import functional as rdsnet

# the official kernel, at offsets -4 to 4, and its bias
_WEIGHT = (
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
    kernel was learned from masks and boxes, not with a detector; the official
    code has its numbers, which are the default and are not trained here.
    Borders become whole pixels.

    Args:
        gamma: Standard deviation of the Gaussian in sides of the box.
        sigma_min: The smallest one in pixels.
        prior_cut: Values of the Gaussian up to this one become 0.
        kernel_size: Width of the kernel, odd. Other than 9 it starts from
            zero, for a kernel from a checkpoint.

    Raises:
        ValueError: ``kernel_size`` is even, ``gamma`` is negative or
            ``sigma_min`` is not positive.
    """

    def __init__(
        self,
        gamma: float = 0.05,
        sigma_min: float = 1.0,
        prior_cut: float = 0.0044,
        kernel_size: int = 9,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}')
        if gamma < 0:
            raise ValueError(f'gamma must be at least 0, got {gamma}')
        if sigma_min <= 0:
            raise ValueError(f'sigma_min must be positive, got {sigma_min}')
        self.gamma = gamma
        self.sigma_min = sigma_min
        self.prior_cut = prior_cut
        weight = torch.zeros(1, 1, kernel_size)
        bias = torch.zeros(1)
        if kernel_size == len(_WEIGHT):
            weight[0, 0] = torch.tensor(_WEIGHT)
            bias[0] = _BIAS
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

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
            self.weight,
            self.bias,
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
            masks = masks.to(self.weight)
            found = rdsnet.refined_boxes(self.posteriors(masks, last), last)
            return move_ends(found, 1).to(boxes)

    def refine(self, results: InstanceData) -> InstanceData:
        """Detections of any detector with masks.

        Args:
            results: With ``bboxes`` (N, 4) and ``masks`` (N, H, W) in pixels
                of the same image.

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
        results.bboxes = self(results.masks, results.bboxes)
        return results
