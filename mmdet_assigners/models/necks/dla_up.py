"""Iterative deep aggregation from strides 4 to 32 to one map of stride 4.

Source: the DLA-34 network of xingyizhou/CenterNet, arXiv 1904.07850.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from mmcv.cnn import build_norm_layer
from mmcv.ops import ModulatedDeformConv2dPack
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...ops.deform_conv import deform_conv

BN = dict(type='BN', momentum=0.1)


def bilinear_kernel(factor: int) -> Tensor:
    """Weights (K, K), K = 2 f, of a transposed convolution that interpolates.

    Args:
        factor: Up-sampling factor f; the stride of the convolution.
    """
    half = math.ceil(2 * factor / 2)
    center = (2 * half - 1 - half % 2) / (2 * half)
    taps = torch.arange(2 * factor, dtype=torch.float64)
    row = 1 - (taps / half - center).abs()
    return (row[:, None] * row).float()


class DeformConv(ModulatedDeformConv2dPack):
    """mmcv's DCNv2 with one group, also for a CPU in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, C_out, H', W') of x (B, C_in, H, W)."""
        offset, logits = self.conv_offset(x).split((18, 9), 1)
        (stride, _), (padding, _) = self.stride, self.padding
        out = deform_conv(
            x, offset, self.weight, stride, padding, 1, logits.sigmoid()
        )
        return out + self.bias[:, None, None]


class ConvBlock(BaseModule):
    """A 3x3 convolution with bias, a norm and ReLU.

    The bias has no effect before a norm, but the released weights have it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        use_dcn: bool,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        conv = DeformConv if use_dcn else nn.Conv2d
        self.conv = conv(in_channels, out_channels, 3, padding=1)
        self.bn = build_norm_layer(norm_cfg, out_channels)[1]
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, out_channels, H, W) of x (B, in_channels, H, W)."""
        return self.relu(self.bn(self.conv(x)))


class IterativeAggregation(BaseModule):
    """Adds coarser maps to finer ones, one after the other.

    Args:
        in_channels: Channels of the maps, finest first.
        out_channels: Channels after the projections.
        factors: Up-sampling factor of each map; the first is not used.
        use_dcn: Deformable convolutions instead of plain ones.
        norm_cfg: Norm after them.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        factors: Sequence[int],
        use_dcn: bool,
        norm_cfg: dict,
    ) -> None:
        super().__init__()

        def conv(channels: int) -> ConvBlock:
            return ConvBlock(channels, out_channels, use_dcn, norm_cfg)

        self.factors = tuple(factors)
        for i, factor in enumerate(factors):
            if i == 0:
                continue
            setattr(self, f'proj_{i}', conv(in_channels[i]))
            up = nn.ConvTranspose2d(
                out_channels,
                out_channels,
                2 * factor,
                stride=factor,
                padding=factor // 2,
                groups=out_channels,
                bias=False,
            )
            setattr(self, f'up_{i}', up)
            setattr(self, f'node_{i}', conv(out_channels))

    def init_weights(self) -> None:
        """Let the transposed convolutions interpolate; they stay trainable."""
        super().init_weights()
        for i, factor in enumerate(self.factors):
            if i:
                weight = getattr(self, f'up_{i}').weight.data
                weight.copy_(bilinear_kernel(factor).expand_as(weight))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """All but the first map become as fine as the one before.

        Args:
            maps: Shape (B, C_i, H_i, W_i), finest first, sizes divided by
                the factor from one to the next.

        Returns:
            list: The first map and maps (B, out_channels, H_i, W_i) of the
            size of the map before.
        """
        outs = [maps[0]]
        for i, x in enumerate(maps[1:], 1):
            up = getattr(self, f'up_{i}')(getattr(self, f'proj_{i}')(x))
            outs.append(getattr(self, f'node_{i}')(up + outs[-1]))
        return outs


@MODELS.register_module()
class DLAUpNeck(BaseModule):
    """The up-sampling part of DLA-34 for keypoints: one map of stride 4.

    Args:
        in_channels: Channels of the maps of strides 4, 8, 16, 32.
        use_dcn: Deformable convolutions (DCNv2) instead of plain ones.
        norm_cfg: Norm.
        init_cfg: Initialization.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 256, 512),
        use_dcn: bool = True,
        norm_cfg: dict = BN,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        channels = list(in_channels)
        count = len(channels)
        steps = []
        for i in range(count - 2, -1, -1):
            steps.append(
                IterativeAggregation(
                    channels[i:],
                    channels[i],
                    [1] + [2] * (count - 1 - i),
                    use_dcn,
                    norm_cfg,
                )
            )
            channels[i + 1 :] = [channels[i]] * (count - 1 - i)
        self.steps = nn.ModuleList(steps)
        self.last = IterativeAggregation(
            in_channels[:-1],
            in_channels[0],
            [2**i for i in range(count - 1)],
            use_dcn,
            norm_cfg,
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor]:
        """Aggregate the maps of a backbone.

        Args:
            maps: Shape (B, C_i, H / 2**i, W / 2**i), finest first; all sizes
                must be halves of the ones before.

        Returns:
            tuple: One map (B, C_0, H, W).

        Raises:
            ValueError: A size is not half of the one before.
        """
        for fine, coarse in pairwise(maps):
            if tuple(2 * n for n in coarse.shape[2:]) != fine.shape[2:]:
                raise ValueError(
                    'DLAUpNeck needs images whose sides are multiples of the '
                    "coarsest stride (data_preprocessor's pad_size_divisor=32)"
                    f', got maps {[tuple(m.shape[2:]) for m in maps]}'
                )
        work = list(maps)
        pyramid: list[Tensor] = []
        for i, step in enumerate(self.steps):
            first = len(work) - 2 - i
            work[first:] = step(work[first:])
            pyramid.insert(0, work[-1])
        # the coarsest map of the pyramid has no use here
        return (self.last(pyramid)[-1],)
