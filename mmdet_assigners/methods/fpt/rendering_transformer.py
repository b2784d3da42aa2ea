"""Rendering Transformers: a fine level weighs a coarse one's channels."""

from typing import Any

import torch.distributed as dist
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class RenderingTransformer(nn.Module):
    """Rendering Transformer (RT) of the paper.

    ``conv3x3(Q * mean(K)) + strided conv3x3(V)``: Q is the coarse map, K and V
    are the fine one.

    Paper: Feature Pyramid Transformer, ECCV 2020, arXiv 2007.09451. Another
    3x3 convolution of the sum, which the paper mentions, is left to the one
    that follows in the neck.

    Args:
        channels: C of both maps and of the output.
        stride: Of the fine map's convolution: how much finer it is.
    """

    def __init__(self, channels: int, stride: int = 2) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.value_conv = nn.Conv2d(channels, channels, 3, stride, padding=1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Render the coarse map with the fine one.

        Args:
            coarse: (B, C, h, w).
            fine: (B, C, H, W).

        Returns:
            Tensor: (B, C, h, w).
        """
        gate = fine.mean((2, 3), keepdim=True)
        value = fit(self.value_conv(fine), coarse)
        return self.query_conv(coarse * gate) + value


class PublishedRenderingTransformer(nn.Module):
    """Rendering Transformer of the published code.

    ``ReLU(norm(strided conv3x3(fine)) + norm(conv3x3(coarse)) * gate)`` with
    the gate ``ReLU(norm(conv1x1(mean(fine))))``: the gate comes after the
    coarse map's convolution.

    Official code: dongzhang89/FPT, whose stride is 2 for every pair of
    levels, so that it can't run; and whose gate has a batch norm over one
    value per image. ``gate_norm_cfg=dict(type='BN')`` restores that.

    Args:
        channels: C of the coarse map and of the output.
        fine_channels: Of the fine map; None is ``channels``.
        stride: Of the fine map's convolution: how much finer it is.
        norm_cfg: Norm of both maps; None is batch norm.
        gate_norm_cfg: Norm of the gate; None is one group norm over all
            channels, which works with a single image.
    """

    def __init__(
        self,
        channels: int,
        fine_channels: int | None = None,
        stride: int = 2,
        norm_cfg: dict[str, Any] | None = None,
        gate_norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        fine = fine_channels or channels
        norm_cfg = norm_cfg or dict(type='BN')
        gate_norm_cfg = gate_norm_cfg or dict(type='GN', num_groups=1)
        self.query_conv = nn.Conv2d(
            channels, channels, 3, padding=1, bias=False
        )
        self.query_norm = build_norm_layer(norm_cfg, channels)[1]
        self.gate_conv = nn.Conv2d(fine, channels, 1, bias=False)
        self.gate_norm = build_norm_layer(gate_norm_cfg, channels)[1]
        self.value_conv = nn.Conv2d(
            fine, channels, 3, stride, padding=1, bias=False
        )
        self.value_norm = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Render the coarse map with the fine one.

        Args:
            coarse: (B, C, h, w).
            fine: (B, C_fine, H, W).

        Returns:
            Tensor: (B, C, h, w).

        Raises:
            ValueError: Batch norm of the gate has a single image to learn
                from.
        """
        if len(fine) == 1 and _needs_images(self.gate_norm):
            raise ValueError(
                'gate_norm_cfg must not be batch norm with one image per '
                'step: the gate is one value per image; use '
                "dict(type='GN', num_groups=1), or SyncBN in several processes"
            )
        gate = self.gate_conv(fine.mean((2, 3), keepdim=True))
        gate = self.gate_norm(gate).relu()
        query = self.query_norm(self.query_conv(coarse))
        value = self.value_norm(self.value_conv(fine))
        return (fit(value, coarse) + query * gate).relu()


def fit(x: Tensor, like: Tensor) -> Tensor:
    """Resize a map to the size of another, if it differs.

    Args:
        x: (B, C, H, W).
        like: (B, C', h, w).

    Returns:
        Tensor: (B, C, h, w), nearest neighbors.
    """
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, like.shape[2:], mode='nearest')


def _needs_images(norm: nn.Module) -> bool:
    """Whether a norm takes its statistics from this process's batch alone."""
    if not (isinstance(norm, _BatchNorm) and norm.training):
        return False
    joined = isinstance(norm, nn.SyncBatchNorm) and dist.is_initialized()
    return not (joined and dist.get_world_size() > 1)
