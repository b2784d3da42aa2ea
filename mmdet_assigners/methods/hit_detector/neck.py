"""The found neck."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .ops import BN, Options, check_ops, make_op

# laterals, then the layers behind the top-down path, finest first
NECK_GENOTYPE = (
    'sd_k5_d3',
    'sd_k5_d3',
    'sd_k5_d2',
    'sd_k3_d3',
    'sd_k3_d3',
    'sd_k5_d3',
    'sd_k5_d3',
    'sd_k3_d3',
)


class Cells(BaseModule):
    """Layers under the official name.

    Args:
        cells: The layers.
        init_cfg: Their initialization.
    """

    def __init__(
        self, cells: Sequence[nn.Module], init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.cells = nn.ModuleList(cells)


@MODELS.register_module()
class HitPAFPN(BaseModule):
    """PAFPN with candidate operations as laterals and outputs.

    Each level has a lateral operation, the top-down sums of FPN, a second
    operation, and a bottom-up path: max-pooling, sum, 3x3 without norm.
    Parameters have the official names.

    Paper: Hit-Detector, CVPR 2020, arXiv 2003.11818.

    Args:
        in_channels: Of each of the L levels.
        out_channels: Of all outputs.
        num_outs: Number of outputs; those beyond L are every second cell of
            the last.
        genotype: Operations of the 2 L layers: the laterals, then the
            second ones, finest first. See ``make_op``.
        pa_kernel: Size of the kernels of the bottom-up path.
        norm_cfg: Config of the norms; officially SyncBN.
        init_cfg: Initialization; by default Xavier's.

    Raises:
        ValueError: An unknown operation, or not two per level; fewer outputs
            than levels; an even kernel.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int = 5,
        genotype: Sequence[str] = NECK_GENOTYPE,
        pa_kernel: int = 3,
        norm_cfg: Options = BN,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or dict(type='Xavier', layer='Conv2d', distribution='uniform')
        )
        levels = len(in_channels)
        self.genotype = check_ops(genotype, 'genotype of the neck')
        if len(self.genotype) != 2 * levels:
            raise ValueError(
                f'genotype of the neck must have two operations for each of '
                f'{levels} levels, got {len(self.genotype)}'
            )
        if num_outs < levels:
            raise ValueError(
                f'num_outs must be at least the {levels} levels of '
                f'in_channels, got {num_outs}'
            )
        if pa_kernel % 2 == 0:
            raise ValueError(f'pa_kernel must be odd, got {pa_kernel}')
        self.num_outs = num_outs
        self.norm_cfg = norm_cfg
        # channels of input and output
        self.shapes = [(width, out_channels) for width in in_channels]
        self.shapes += [(out_channels, out_channels)] * levels
        self.SearchNeck = Cells(
            [self.make_cell(i, *shape) for i, shape in enumerate(self.shapes)]
        )
        self.pa_convs = nn.ModuleList(
            ConvModule(
                out_channels,
                out_channels,
                pa_kernel,
                padding=pa_kernel // 2,
                act_cfg=None,
            )
            for _ in range(levels - 1)
        )

    def make_cell(
        self, index: int, in_channels: int, out_channels: int
    ) -> nn.Module:
        """Make a layer.

        Args:
            index: Of the layer.
            in_channels: Channels of its input.
            out_channels: Channels of its output.
        """
        return make_op(
            self.genotype[index],
            in_channels,
            out_channels,
            norm_cfg=self.norm_cfg,
        )

    def run_cell(self, index: int, x: Tensor) -> Tensor:
        """Compute a layer.

        Args:
            index: Of the layer.
            x: Its input (B, C, H, W).
        """
        return self.SearchNeck.cells[index](x)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the pyramid.

        Args:
            inputs: L levels (B, C_l, H_l, W_l), finest first. Sides may be
                odd: H_{l+1} = ceil(H_l / 2).

        Returns:
            tuple: ``num_outs`` levels (B, C, H_l, W_l).

        Raises:
            ValueError: Another number of levels.
        """
        levels = len(self.shapes) // 2
        if len(inputs) != levels:
            raise ValueError(
                f'{type(self).__name__} takes the {levels} levels of '
                f'in_channels, got {len(inputs)}'
            )
        maps = [self.run_cell(i, x) for i, x in enumerate(inputs)]
        for i in range(levels - 1, 0, -1):
            size = maps[i - 1].shape[-2:]
            maps[i - 1] = maps[i - 1] + F.interpolate(maps[i], size)
        maps = [self.run_cell(levels + i, x) for i, x in enumerate(maps)]
        outs = maps[:1]
        for conv, x in zip(self.pa_convs, maps[1:], strict=True):
            pooled = F.max_pool2d(outs[-1], 2, ceil_mode=True)
            outs.append(conv(pooled + x))
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)
