"""The second stage of AlignDet: a RoI head that is fully convolutional."""

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .roi_conv import RoIConv
from .roi_conv_functional import MAX_SAMPLES


class AlignTower(BaseModule):
    """RoIConv and a 1x1 convolution, each with ReLU.

    Args:
        in_channels: Channels of the map.
        mid_channels: Channels of both convolutions.
        kernel_size: Bins per side.
        legacy_plus_one: See :class:`RoIConv`.
        align: See :class:`RoIConv`.
        max_samples: See :class:`RoIConv`.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        kernel_size: int,
        legacy_plus_one: bool,
        align: bool,
        max_samples: int,
    ) -> None:
        super().__init__()
        self.align1 = RoIConv(
            in_channels,
            mid_channels,
            kernel_size,
            legacy_plus_one,
            align,
            max_samples,
        )
        self.align2 = nn.Conv2d(mid_channels, mid_channels, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, boxes: Tensor, stride: float) -> Tensor:
        """Features (B, C_mid, H, W) of the box of each location."""
        x = self.relu(self.align1(x, boxes, stride))
        return self.relu(self.align2(x))


@MODELS.register_module()
class AlignStageHead(BaseModule):
    """Classifies and refines the box of every location.

    RoIConv -> ReLU -> 1x1 -> ReLU -> class logits and deltas by 1x1: the head
    of Faster R-CNN with two fully connected layers, applied to one box per
    location. All levels share the weights.

    Paper: Revisiting Feature Alignment for One-stage Object Detection, arXiv
    1908.01570. Weights start from N(0, 0.01), class scores at 0.01.

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the pyramid.
        mid_channels: Channels of the tower; 1024 in the paper.
        kernel_size: Bins per side K; 7 in the paper.
        first_kernel_size: Bins per side on the first level, which then has a
            tower of its own (``ignore_p3`` of the official code: 3). None:
            as on the others.
        legacy_plus_one: See :class:`RoIConv`. x2 and y2 of ``boxes`` are the
            last pixel, as in the official code.
        align: False ignores the boxes: plain K x K convolutions.
        max_samples: Bound on the memory, see :class:`RoIConv`.
        init_cfg: mmengine's initialization.

    Raises:
        ValueError: A kernel size is even.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        mid_channels: int = 1024,
        kernel_size: int = 7,
        first_kernel_size: int | None = None,
        legacy_plus_one: bool = False,
        align: bool = True,
        max_samples: int = MAX_SAMPLES,
        init_cfg: dict | list | None = None,
    ) -> None:
        if init_cfg is None:
            override = dict(
                type='Normal', name='cls', std=0.01, bias_prob=0.01
            )
            init_cfg = dict(
                type='Normal', layer='Conv2d', std=0.01, override=override
            )
        super().__init__(init_cfg)
        self.legacy_plus_one = legacy_plus_one
        kernels = [kernel_size]
        if first_kernel_size is not None:
            kernels.append(first_kernel_size)
        self.towers = nn.ModuleList(
            AlignTower(
                in_channels,
                mid_channels,
                kernel,
                legacy_plus_one,
                align,
                max_samples,
            )
            for kernel in kernels
        )
        self.cls = nn.Conv2d(mid_channels, num_classes, 1)
        self.reg = nn.Conv2d(mid_channels, 4, 1)

    def forward(
        self, x: Tensor, boxes: Tensor, stride: float, first: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Predictions of one level.

        Args:
            x: (B, C_in, H, W).
            boxes: (B, H * W, 4) in pixels, row-major.
            stride: Of the level in pixels.
            first: It is the first level.

        Returns:
            tuple: Class logits (B, C, H, W) and deltas (B, 4, H, W) relative
            to the boxes.
        """
        tower = self.towers[-1 if first else 0]
        x = tower(x, boxes, stride)
        return self.cls(x), self.reg(x)
