"""PeleeNet, and CSPPeleeNet with partial dense stages."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, cat, nn

from .architectures import scale
from .base import StagedBackbone
from .dense import PartialDenseStage, TwoWayLayer, dense_forward
from .stages import LEAKY, NORM, layer_cfg

STEM = 32
GROWTH = 32
LAYERS = (3, 4, 8, 6)
BOTTLENECKS = (1, 2, 4, 4)
WIDTHS = (128, 256, 512, 704)


class PeleeStem(BaseModule):
    """Stride 4 by a 3x3, and by a max-pooling beside two convolutions.

    Args:
        in_channels: Channels of the images.
        channels: Channels of the output.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
    """

    def __init__(
        self, in_channels: int, channels: int, norm_cfg: dict, act_cfg: dict
    ) -> None:
        super().__init__()
        cfg = layer_cfg(norm_cfg, act_cfg)
        half = max(1, channels // 2)
        down = dict(kernel_size=3, stride=2, padding=1)
        self.conv = ConvModule(in_channels, channels, **down, **cfg)
        self.branch = nn.Sequential(
            ConvModule(channels, half, 1, **cfg),
            ConvModule(half, channels, **down, **cfg),
        )
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.fuse = ConvModule(2 * channels, channels, 1, **cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / 4, W / 4)."""
        x = self.conv(x)
        return self.fuse(cat([self.pool(x), self.branch(x)], 1))


class PeleeStage(BaseModule):
    """Two-way dense layers and a 1x1 transition.

    Args:
        in_channels: Channels of the input.
        num_layers: Number of dense layers.
        growth: Channels that a layer adds.
        bottleneck: See ``TwoWayLayer``.
        out_channels: Channels of the transition.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
    """

    def __init__(
        self,
        in_channels: int,
        num_layers: int,
        growth: int,
        bottleneck: int,
        out_channels: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        widths = [in_channels + growth * i for i in range(num_layers + 1)]
        self.layers = nn.ModuleList(
            TwoWayLayer(width, growth, bottleneck, norm_cfg, act_cfg)
            for width in widths[:-1]
        )
        self.transition = ConvModule(
            widths[-1], out_channels, 1, **layer_cfg(norm_cfg, act_cfg)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        return self.transition(dense_forward(x, self.layers))


@MODELS.register_module()
class PeleeNet(StagedBackbone):
    """PeleeNet, the plain network of CSPPeleeNet.

    A stem of stride 4 and four stages of two-way dense layers, strides 4 to 32
    and 128, 256, 512, 704 channels. A stage is returned before the average
    pooling that follows it.

    Paper: Pelee, NeurIPS 2018, arXiv 1804.06882.

    Args:
        out_indices: Stages whose outputs are returned, 0 to 3.
        frozen_stages: How many stages are not trained, 0: the stem alone,
            -1: all are trained.
        widen_factor: Factor of all channels.
        in_channels: Channels of the images.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: Stages out of range, or a factor that is not positive.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        widen_factor: float = 1.0,
        in_channels: int = 3,
        norm_cfg: dict = NORM,
        act_cfg: dict = LEAKY,
        norm_eval: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if widen_factor <= 0:
            raise ValueError(
                f'widen_factor must be positive, got {widen_factor}'
            )
        growth = max(2, 2 * round(GROWTH * widen_factor / 2))
        width = stem = scale(STEM, widen_factor)
        stages: list[nn.Module] = []
        for i, out in enumerate(WIDTHS):
            out = scale(out, widen_factor)
            stage = self.make_stage(i, width, growth, out, norm_cfg, act_cfg)
            pool = nn.AvgPool2d(2, 2, ceil_mode=True)
            stages.append(nn.Sequential(pool, stage) if i else stage)
            width = out
        super().__init__(
            PeleeStem(in_channels, stem, norm_cfg, act_cfg),
            stages,
            out_indices,
            frozen_stages,
            norm_eval,
            init_cfg,
        )

    def make_stage(
        self,
        index: int,
        in_channels: int,
        growth: int,
        out_channels: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> nn.Module:
        """The dense layers and transitions of a stage."""
        return PeleeStage(
            in_channels,
            LAYERS[index],
            growth,
            BOTTLENECKS[index],
            out_channels,
            norm_cfg,
            act_cfg,
        )


@MODELS.register_module()
class CSPPeleeNet(PeleeNet):
    """PeleeNet whose stages are partial dense stages.

    Strides and channels are those of ``PeleeNet``.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929. The official layer
    list is not published. The widths of the transition T are ours, chosen to
    meet the published 2.83 M parameters and 0.888 BFLOPs.

    Args:
        out_indices: Stages whose outputs are returned, 0 to 3.
        frozen_stages: How many stages are not trained, 0: the stem alone,
            -1: all are trained.
        mode: Of ``PartialDenseStage``. With ``'fusion_last'`` the transition
            T is as wide as it takes for the channels of the stage.
        gamma: Share of the channels that enters the dense layers.
        t_channels: Channels of the transition T of each stage in mode
            ``'csp'``.
        widen_factor: Factor of all channels.
        in_channels: Channels of the images.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: Stages out of range, a factor that is not positive, an
            unknown mode, or ``gamma`` that leaves no channels for the layers.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        mode: str = 'csp',
        gamma: float = 0.5,
        t_channels: Sequence[int] = (64, 64, 128, 688),
        widen_factor: float = 1.0,
        in_channels: int = 3,
        norm_cfg: dict = NORM,
        act_cfg: dict = LEAKY,
        norm_eval: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if len(t_channels) != len(WIDTHS):
            raise ValueError(
                f't_channels must be {len(WIDTHS)} numbers, one per stage, '
                f'got {list(t_channels)}'
            )
        self.mode, self.gamma = mode, gamma
        self.t_channels = [scale(width, widen_factor) for width in t_channels]
        super().__init__(
            out_indices,
            frozen_stages,
            widen_factor,
            in_channels,
            norm_cfg,
            act_cfg,
            norm_eval,
            init_cfg,
        )

    def make_stage(
        self,
        index: int,
        in_channels: int,
        growth: int,
        out_channels: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> nn.Module:
        """The dense layers and transitions of a stage."""
        t_channels = self.t_channels[index]
        if self.mode == 'fusion_last':
            bypass = in_channels - int(self.gamma * in_channels)
            t_channels = out_channels - bypass
        return PartialDenseStage(
            in_channels,
            LAYERS[index],
            growth,
            self.gamma,
            t_channels,
            out_channels,
            self.mode,
            BOTTLENECKS[index],
            norm_cfg,
            act_cfg,
        )
