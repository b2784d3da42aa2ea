"""RoIConv as a layer."""

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .roi_conv_functional import MAX_SAMPLES, boxes_to_offsets, roi_conv


@MODELS.register_module()
class RoIConv(BaseModule):
    """Convolution over the inside of one box per location.

    RoIAlign with K x K bins and a fully connected layer on the result, for
    the box of every location at once: a deformable convolution whose offsets
    are computed from the boxes. No gradient flows into the boxes. Samples are
    taken in float32 under autocast.

    Paper: Revisiting Feature Alignment for One-stage Object Detection, arXiv
    1908.01570.

    Args:
        in_channels: Channels C of the map.
        out_channels: Channels of the result.
        kernel_size: K, bins per side; odd, 7 in the paper.
        legacy_plus_one: Boxes of inclusive pixels, as the official code, see
            :func:`~.roi_conv_functional.boxes_to_offsets`.
        align: False ignores the boxes: a plain K x K convolution.
        max_samples: Bound on the memory, see
            :func:`~.roi_conv_functional.roi_conv`.
        init_cfg: mmengine's initialization.

    Raises:
        ValueError: ``kernel_size`` is even.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 7,
        legacy_plus_one: bool = False,
        align: bool = True,
        max_samples: int = MAX_SAMPLES,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f'kernel_size must be odd and positive, got {kernel_size}'
            )
        if max_samples < 1:
            raise ValueError(
                f'max_samples must be at least 1, got {max_samples}'
            )
        self.kernel_size = kernel_size
        self.legacy_plus_one = legacy_plus_one
        self.align = align
        self.max_samples = max_samples
        # a Conv2d holds the parameters, so that `init_cfg` finds them
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2
        )

    def forward(self, x: Tensor, boxes: Tensor, stride: float) -> Tensor:
        """Convolve a level.

        Args:
            x: (B, C, H, W).
            boxes: (B, H * W, 4) in pixels, row-major.
            stride: Of the level in pixels.

        Returns:
            Tensor: (B, C_out, H, W).
        """
        if not self.align:
            return self.conv(x)
        dtype = torch.promote_types(boxes.dtype, torch.float32)
        offset = boxes_to_offsets(
            boxes.detach().to(dtype),
            x.shape[-2:],
            self.kernel_size,
            stride,
            legacy_plus_one=self.legacy_plus_one,
        )
        out = roi_conv(x, offset, self.conv.weight, self.max_samples)
        return out + self.conv.bias[:, None, None]
