"""Reads features at the corners of predicted boxes.

Source: arXiv 2003.12125, voidrank/SaccadeNet.
"""

import math

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...ops.deform_conv import deform_conv

# taps that are read: number of a tap of a 3x3 kernel -> share of the height
# and of the width; tap 4 is free
_CORNERS = {
    0: (-0.5, -0.5),
    2: (-0.5, 0.5),
    4: (0.0, 0.0),
    6: (0.5, -0.5),
    8: (0.5, 0.5),
}
_EDGES = {1: (-0.5, 0.0), 3: (0.0, -0.5), 5: (0.0, 0.5), 7: (0.5, 0.0)}
MODES = {
    'corners': _CORNERS,
    'corners_edges': _CORNERS | _EDGES,
    'official_v1': _CORNERS | {8: (0.0, 0.5)},
}


@MODELS.register_module()
class AggregationAttention(BaseModule):
    """A deformable convolution whose taps are at the corners of boxes.

    Of the center, and of the corners that the size of a first stage gives,
    features are sampled bilinearly; a 1x1 convolution makes corrections of
    them, which start at zero.

    Args:
        in_channels: Channels of the map.
        mid_channels: Channels after the sampling.
        out_channels: Number of corrections: 2 for the size, 4 with the offset.
        mode: ``'corners'``: the center and four corners, as in the paper;
            ``'corners_edges'``: also the middles of the sides, the official
            v2; ``'official_v1'``: as ``'corners'``, but the tap of the bottom
            right corner is at the middle of the right side, as in the
            released code and weights.
        grad_scale: Gradients reach the sizes through the places of the taps,
            scaled by this.
        init_cfg: Initialization.

    Raises:
        ValueError: There is no such mode.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int = 2,
        mode: str = 'corners',
        grad_scale: float = 0.01,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if mode not in MODES:
            raise ValueError(f'mode must be one of {[*MODES]}, got {mode!r}')
        self.grad_scale = grad_scale
        self.weight = nn.Parameter(
            torch.empty(mid_channels, in_channels, 3, 3)
        )
        self.bias = nn.Parameter(torch.empty(mid_channels))
        self.read = sorted(MODES[mode])
        self.conv_offset_mask = nn.Conv2d(
            in_channels, 2 + len(self.read), 3, padding=1
        )
        self.conv1x1 = nn.Conv2d(mid_channels, out_channels, 1)
        shares = torch.zeros(9, 2)
        for tap, share in MODES[mode].items():
            shares[tap] = torch.tensor(share)
        grid = torch.cartesian_prod(*[torch.arange(-1.0, 2.0)] * 2)
        # of the tap, by height and width, and from the regular grid
        self.register_buffer('shares', shares, persistent=False)
        self.register_buffer('grid', grid, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize as in the official code."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)
        for conv in (self.conv_offset_mask, self.conv1x1):
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)

    def init_weights(self) -> None:
        """Initialize as in the official code."""
        self.reset_parameters()
        super().init_weights()

    def forward(self, x: Tensor, sizes: Tensor) -> Tensor:
        """Corrections (B, out_channels, H, W) for each cell.

        Args:
            x: Shape (B, C_in, H, W).
            sizes: Widths and heights of the first stage in cells, shape
                (B, 2, H, W).
        """
        batch, _, *map_size = x.shape
        scale = self.grad_scale
        sizes = scale * sizes + (1 - scale) * sizes.detach()
        raw = self.conv_offset_mask(x)
        # [B, 9, 2, H, W], y first
        sides = sizes.flip(1)[:, None]
        places = self.shares[..., None, None].to(sides) * sides
        free = raw.new_zeros(batch, 9, 2, *map_size)
        free[:, 4] = raw[:, :2]
        offset = places + free - self.grid[..., None, None].to(sides)
        mask = raw.new_zeros(batch, 9, *map_size)
        mask[:, self.read] = raw[:, 2:].sigmoid()
        out = deform_conv(x, offset.flatten(1, 2), self.weight, 1, 1, 1, mask)
        out = out + self.bias[:, None, None]
        return self.conv1x1(out.relu())
