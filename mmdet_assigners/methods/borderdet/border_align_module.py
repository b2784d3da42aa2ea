"""The Border Alignment Module of BorderDet."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...ops.border_align import border_align_levels


class InstanceNorm(nn.Module):
    """Normalizes each channel of each level; no parameters, no statistics.

    As ``nn.InstanceNorm1d`` of each level, but a level of one cell becomes 0
    instead of an error.
    """

    def forward(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Normalized (B, C, P), whose levels have ``counts`` cells."""
        return torch.cat([self._level(part) for part in x.split(counts, 2)], 2)

    @staticmethod
    def _level(x: Tensor) -> Tensor:
        return F.instance_norm(x) if x.shape[2] > 1 else x - x


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

    def forward(
        self,
        feats: Sequence[Tensor],
        boxes: Tensor,
        index: Sequence[Tensor] = (),
    ) -> Tensor:
        """Features of the boxes of all locations of all levels.

        Args:
            feats: L maps (B, in_channels, H_l, W_l).
            boxes: (B, P, 4) in cells of their level, level-major, then
                row-major; no gradient goes to them.
            index: See :func:`~mmdet_assigners.ops.border_align.border_index`.

        Returns:
            Tensor: (B, in_channels, 1, P), a map of one row.
        """
        sizes = [x.shape[2:] for x in feats]
        counts = [height * width for height, width in sizes]
        x = torch.cat([x.flatten(2) for x in feats], 2).unsqueeze(2)
        corners, point = (
            relu(norm(conv(x).squeeze(2), counts))
            for conv, norm, relu in (self.ltrb_conv, self.cur_point_conv)
        )
        borders = border_align_levels(
            corners.mT, boxes, sizes, self.pool_size, index=index
        )
        # [B, P, 4, C] -> [B, 4 C, P]
        borders = borders.flatten(2).mT
        return self.border_conv(torch.cat((borders, point), 1).unsqueeze(2))


def _conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1),
        InstanceNorm(),
        nn.ReLU(inplace=True),
    )
