"""Grouped non-local block of Double-Head-Ext."""

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from .functional import grouped_nonlocal


class GroupNonLocal2d(BaseModule):
    """Non-local block whose channels attend in groups.

    Rethinking Classification and Localization for Object Detection, CVPR 2020,
    arXiv 1904.06493. Beside mmcv's ``NonLocal2d`` it has groups, batch norm
    behind the output and a ReLU behind the sum. Its output starts at 0, so
    that the block starts as ReLU.

    Args:
        in_channels: C.
        inter_channels: Channels of queries, keys and values.
        groups: Number of groups, a divisor of ``inter_channels``.
        softmax: Softmax of the products instead of their mean.
        relu: ReLU behind the sum.
        norm_cfg: Norm of the output.

    Raises:
        ValueError: ``inter_channels`` is no multiple of ``groups``.
    """

    def __init__(
        self,
        in_channels: int,
        inter_channels: int,
        groups: int = 4,
        softmax: bool = False,
        relu: bool = True,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or inter_channels % groups:
            raise ValueError(
                'inter_channels must be a multiple of groups, got '
                f'inter_channels={inter_channels} and groups={groups}'
            )
        self.groups = groups
        self.softmax = softmax
        self.theta, self.phi, self.g = (
            nn.Conv2d(in_channels, inter_channels, 1) for _ in range(3)
        )
        self.out = nn.Conv2d(inter_channels, in_channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        norm_cfg = norm_cfg or dict(type='BN')
        self.bn = build_norm_layer(norm_cfg, in_channels)[1]
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The block, (N, C, H, W) -> (N, C, H, W)."""
        y = grouped_nonlocal(
            self.theta(x), self.phi(x), self.g(x), self.groups, self.softmax
        )
        return self.relu(self.bn(self.out(y)) + x)
