"""SPP and a path aggregation network, in the form of YOLO."""

from collections.abc import Sequence
from itertools import pairwise

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, cat, nn
from torch.nn import functional as F

from .stages import LEAKY, NORM, layer_cfg


def spatial_pyramid(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Max-poolings of stride 1, beside the input.

    Args:
        x: (B, C, H, W).
        sizes: K odd sizes of the windows.

    Returns:
        Tensor: (B, (K + 1) * C, H, W), the largest window first, the input
        last.
    """
    pooled = [
        F.max_pool2d(x, size, 1, size // 2)
        for size in sorted(sizes, reverse=True)
    ]
    return cat([*pooled, x], 1)


@MODELS.register_module()
class SPPPANNeck(BaseModule):
    """SPP on the coarsest level, then top-down and bottom-up.

    Levels meet by concatenation, after which five convolutions of 1x1 and 3x3
    alternate. The head of the official detectors, a 3x3 and a 1x1, is that of
    YOLOv3.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929;
    csresnext50-panet-spp.cfg of WongKinYiu/CrossStagePartialNetworks.

    Args:
        in_channels: Channels of the backbone's levels, finest first.
        out_channels: Channels of the outputs, finest first; officially 128,
            256, 512.
        pool_sizes: Odd windows of the SPP.
        coarsest_first: Order of the outputs; YOLOv3's heads want True.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
        init_cfg: Initialization.

    Raises:
        ValueError: ``out_channels`` of another length, or an even window.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        pool_sizes: Sequence[int] = (5, 9, 13),
        coarsest_first: bool = True,
        norm_cfg: dict = NORM,
        act_cfg: dict = LEAKY,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != len(out_channels) or len(in_channels) < 2:
            raise ValueError(
                'out_channels must have an entry for each of at least 2 '
                f'in_channels, got {list(out_channels)} and '
                f'{list(in_channels)}'
            )
        even = [size for size in pool_sizes if size % 2 == 0]
        if even:
            raise ValueError(f'pool_sizes must be odd, got {list(pool_sizes)}')
        self.pool_sizes = tuple(pool_sizes)
        self.coarsest_first = coarsest_first
        cfg = layer_cfg(norm_cfg, act_cfg)
        top = out_channels[-1]
        pooled = top * (len(self.pool_sizes) + 1)
        self.before_spp = _alternate(in_channels[-1], top, 3, cfg)
        self.after_spp = _alternate(pooled, top, 3, cfg)
        # lists in the order of the layers: top-down, then bottom-up
        self.reduce, self.lateral = nn.ModuleList(), nn.ModuleList()
        self.top_down = nn.ModuleList()
        for i in range(len(in_channels) - 2, -1, -1):
            width = out_channels[i]
            self.reduce.append(
                ConvModule(out_channels[i + 1], width, 1, **cfg)
            )
            self.lateral.append(ConvModule(in_channels[i], width, 1, **cfg))
            self.top_down.append(_alternate(2 * width, width, 5, cfg))
        self.down, self.bottom_up = nn.ModuleList(), nn.ModuleList()
        for fine, width in pairwise(out_channels):
            self.down.append(
                ConvModule(fine, width, 3, stride=2, padding=1, **cfg)
            )
            self.bottom_up.append(_alternate(2 * width, width, 5, cfg))

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the levels.

        Args:
            inputs: L maps (B, C_l, H_l, W_l), finest first. A level may be
                a cell larger or smaller than half of the finer one.

        Returns:
            tuple: L maps (B, out_channels[l], H_l, W_l).
        """
        x = spatial_pyramid(self.before_spp(inputs[-1]), self.pool_sizes)
        levels = [self.after_spp(x)]  # coarsest first
        for i, feats in enumerate(inputs[-2::-1]):
            up = _fit(self.reduce[i](levels[-1]), feats)
            x = cat([self.lateral[i](feats), up], 1)
            levels.append(self.top_down[i](x))
        outs = [levels.pop()]
        for i, level in enumerate(reversed(levels)):
            down = _fit(self.down[i](outs[-1]), level)
            outs.append(self.bottom_up[i](cat([down, level], 1)))
        return tuple(outs[::-1] if self.coarsest_first else outs)


def _alternate(inputs: int, width: int, count: int, cfg: dict) -> nn.Module:
    """1x1 to ``width`` and 3x3 to twice that, in turn."""
    convs = []
    for i in range(count):
        if i % 2:
            convs.append(ConvModule(inputs, 2 * width, 3, padding=1, **cfg))
        else:
            convs.append(ConvModule(inputs, width, 1, **cfg))
        inputs = width if i % 2 == 0 else 2 * width
    return nn.Sequential(*convs)


def _fit(x: Tensor, like: Tensor) -> Tensor:
    size = like.shape[-2:]
    return x if x.shape[-2:] == size else F.interpolate(x, size)
