"""The Border Alignment Module of BorderDet."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...ops.border_align import border_align


class InstanceNorm(nn.Module):
    """Normalizes each channel of each image; no parameters, no statistics.

    As ``nn.InstanceNorm2d``, but a map of one cell becomes 0 instead of an
    error.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalized (B, C, H, W)."""
        if x.shape[-2:].numel() == 1:
            return x - x
        return F.instance_norm(x)


class BorderAlignModule(BaseModule):
    """Border Alignment Module (BAM): point feature and that of four borders.

    A 1x1 convolution gives each border of each location's box its own
    ``border_channels`` channels, of which BorderAlign takes the maximum along
    it; another gives the feature of the point. A third brings the
    concatenation back to ``in_channels``.

    Paper: BorderDet: Border Feature for Dense Object Detection, ECCV 2020,
    arXiv 2007.11056. Order of the concatenation (top, left, bottom,
    right, point), instance norm and names of the parameters are those of the
    official code; in the paper the point comes first.

    Args:
        in_channels: Channels of the feature map.
        border_channels: Channels C of the point and of each border; 256 for
            classification and 128 for regression in the official code.
        pool_size: N of the N + 1 samples per border; 10 in the paper.
        init_cfg: mmengine's initialization.
    """

    def __init__(
        self,
        in_channels: int,
        border_channels: int,
        pool_size: int = 10,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.pool_size = pool_size
        self.cur_point_conv = _conv_norm(in_channels, border_channels)
        self.ltrb_conv = _conv_norm(in_channels, 4 * border_channels)
        self.border_conv = nn.Sequential(
            nn.Conv2d(5 * border_channels, in_channels, 1), nn.ReLU()
        )

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        """Features of the boxes of all locations.

        Args:
            x: (B, in_channels, H, W).
            boxes: (B, H * W, 4) in cells, row-major; no gradient goes to
                them.

        Returns:
            Tensor: (B, in_channels, H, W).
        """
        borders = border_align(self.ltrb_conv(x), boxes, self.pool_size)
        # [B, C, H W, 4] -> [B, 4 C, H, W]
        borders = borders.permute(0, 3, 1, 2).flatten(1, 2)
        borders = borders.unflatten(-1, x.shape[-2:])
        point = self.cur_point_conv(x)
        return self.border_conv(torch.cat((borders, point), 1))


def _conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1), InstanceNorm(), nn.ReLU()
    )
