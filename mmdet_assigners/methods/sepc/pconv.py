"""Convolution over the scale axis of a feature pyramid, and its norm."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .scale_aligned_conv import ScaleAlignedConv


def integrated_norm(
    norm: _BatchNorm, levels: Sequence[Tensor]
) -> list[Tensor]:
    """Integrated batch normalization (iBN): one statistic for all levels.

    In training the mean and variance of a channel are taken over all images
    and all positions of all levels, so that a level counts by its area. The
    module itself stays an ordinary batch norm: ``sync_bn='torch'`` in a
    config takes the statistics over the GPUs too.

    Paper: arXiv 2005.03101, section 3.2.

    Args:
        norm: Batch norm of C channels.
        levels: L maps of shape [B, C, H_l, W_l].

    Returns:
        L maps of the same shapes; in training they share storage.
    """
    if not norm.training and norm.running_mean is not None:
        return [norm(level) for level in levels]  # the same, without copies
    joined = norm(torch.cat([x.flatten(2) for x in levels], 2).unsqueeze(2))
    sizes = [x.shape[-2:] for x in levels]
    parts = joined.squeeze(2).split([h * w for h, w in sizes], 2)
    return [
        part.unflatten(2, tuple(size))
        for part, size in zip(parts, sizes, strict=True)
    ]


@MODELS.register_module()
class PConv(BaseModule):
    """Pyramid convolution: a convolution over space and scale.

    With levels l = 0..L-1, finest first, every output level sums three
    convolutions, whose kernels all levels share (equation 1 of the paper)::

        y_l = w_same * x_l
              + [l > 0]   w_finer *(stride 2) x_{l-1}
              + [l < L-1] Up(w_coarser * x_{l+1})

    followed by iBN (optional) and ReLU. Up is bilinear to the exact size of
    level l, with aligned corners. A neighbor that does not exist is left
    out.

    Paper: Scale-Equalizing Pyramid Convolution for Object Detection, CVPR
    2020, arXiv 2005.03101.

    Differences from the official code (jshilong/SEPC): the kernels have
    names instead of the indices 2 (finer), 1 (same) and 0 (coarser).

    Args:
        in_channels: Channels of every input level.
        out_channels: Channels of every output level.
        deform: Scale-aligned kernels: deformable for output levels >= 1
            (SEPC); see `ScaleAlignedConv`.
        ibn: Batch norm with joint statistics of all levels.
        init_cfg: mmengine's initialization; by default the paper's, see
            `ScaleAlignedConv`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        deform: bool = False,
        ibn: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        # before the convolutions: mmcv's fuse_conv_bn would otherwise fold the
        # norm of their sum into the last of them
        self.norm = nn.BatchNorm2d(out_channels) if ibn else None
        channels = (in_channels, out_channels)
        self.finer = ScaleAlignedConv(*channels, stride=2, deform=deform)
        self.same = ScaleAlignedConv(*channels, deform=deform)
        self.coarser = ScaleAlignedConv(*channels, deform=deform)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Convolve a pyramid.

        Args:
            levels: L maps of shape [B, C, H_l, W_l], finest first, where
                H_{l+1} = ceil(H_l / 2) and W_{l+1} = ceil(W_l / 2).

        Returns:
            L maps of shape [B, C_out, H_l, W_l].

        Raises:
            ValueError: The sizes of two levels don't fit.
        """
        outs = []
        for level, x in enumerate(levels):
            out = self.same(level, x)
            if level > 0:
                finer = self.finer(level, levels[level - 1])
                _check_size(level, x, levels[level - 1], finer)
                out = out + finer
            if level < len(levels) - 1:
                coarser = self.coarser(level, levels[level + 1])
                out = out + F.interpolate(
                    coarser, x.shape[-2:], mode='bilinear', align_corners=True
                )
            outs.append(out)
        if self.norm is not None:
            outs = integrated_norm(self.norm, outs)
        return [F.relu(out) for out in outs]


def _check_size(level: int, x: Tensor, finer: Tensor, down: Tensor) -> None:
    if x.shape[-2:] != down.shape[-2:]:
        size, below, expected = (
            '{}x{}'.format(*t.shape[-2:]) for t in (x, finer, down)
        )
        raise ValueError(
            f'level {level} of levels is {size}, but must be {expected}, the '
            f'half (rounded up) of level {level - 1} ({below}); pad the '
            'images to a multiple of 32 (pad_size_divisor=32)'
        )
