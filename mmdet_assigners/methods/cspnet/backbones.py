"""CSPDarknet53, CSPResNet and CSPResNeXt."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import nn

from ...models.checks import pick
from .architectures import ARCHITECTURES, Architecture, scale
from .base import StagedBackbone
from .stages import NORM, CSPStage, layer_cfg


class CSPNet(StagedBackbone):
    """A CSP network of an architecture; base class.

    Args:
        architecture: The widths.
        out_indices: Stages whose outputs are returned.
        frozen_stages: See ``StagedBackbone``.
        groups: Groups of the 3x3 convolutions; None: those of the
            architecture.
        widen_factor: Factor of all channels.
        in_channels: Channels of the images.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations; None: the leaky ReLU of the
            architecture.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: Stages out of range, a factor that is not positive, or
            channels that ``groups`` does not divide.
    """

    def __init__(
        self,
        architecture: Architecture,
        out_indices: Sequence[int],
        frozen_stages: int = -1,
        groups: int | None = None,
        widen_factor: float = 1.0,
        in_channels: int = 3,
        norm_cfg: dict = NORM,
        act_cfg: dict | None = None,
        norm_eval: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if widen_factor <= 0:
            raise ValueError(
                f'widen_factor must be positive, got {widen_factor}'
            )
        if act_cfg is None:
            act_cfg = dict(type='LeakyReLU', negative_slope=architecture.slope)
        cfg = layer_cfg(norm_cfg, act_cfg)
        stages = [
            stage.scaled(widen_factor, groups or stage.groups)
            for stage in architecture.stages
        ]
        super().__init__(
            _stem(architecture, in_channels, widen_factor, cfg),
            [CSPStage(**vars(stage), **cfg) for stage in stages],
            out_indices,
            frozen_stages,
            norm_eval,
            init_cfg,
        )


def _stem(
    architecture: Architecture, in_channels: int, width: float, cfg: dict
) -> nn.Sequential:
    channels = scale(architecture.stem_channels, width)
    if not architecture.resnet_stem:
        conv = ConvModule(in_channels, channels, 3, padding=1, **cfg)
        return nn.Sequential(conv)
    conv = ConvModule(in_channels, channels, 7, stride=2, padding=3, **cfg)
    if architecture.pool == 2:  # Darknet pads at the right and the bottom
        pool = nn.MaxPool2d(2, 2, ceil_mode=True)
    else:
        pool = nn.MaxPool2d(architecture.pool, 2, architecture.pool // 2)
    return nn.Sequential(conv, pool)


@MODELS.register_module()
class CSPDarknet53(CSPNet):
    """Darknet-53 of CSP stages.

    The five stages have strides 2 to 32 and 64, 128, 256, 512, 1024
    channels. mmdet's ``CSPDarknet`` is another network, that of YOLOX.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929; csdarknet53.cfg of
    WongKinYiu/CrossStagePartialNetworks.

    Args:
        out_indices: Stages whose outputs are returned, 0 to 4.
        frozen_stages: How many stages are not trained, 0: the stem alone,
            -1: all are trained.
        variant: ``'official'``, or ``'mmpretrain'`` for weights that come
            from timm: leaky ReLU of slope 0.01 instead of 0.1.
        widen_factor: Factor of all channels.
        in_channels: Channels of the images.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations; None: the leaky ReLU of the
            variant. ``dict(type='Mish')``: the networks called omega.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: An unknown variant, or stages out of range.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        variant: str = 'official',
        widen_factor: float = 1.0,
        in_channels: int = 3,
        norm_cfg: dict = NORM,
        act_cfg: dict | None = None,
        norm_eval: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            pick(ARCHITECTURES['CSPDarknet53'], variant, 'variant'),
            out_indices,
            frozen_stages,
            widen_factor=widen_factor,
            in_channels=in_channels,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            norm_eval=norm_eval,
            init_cfg=init_cfg,
        )


class CSPResidual(CSPNet):
    """Base class of CSPResNet and CSPResNeXt."""

    def __init__(
        self,
        depth: int = 50,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        variant: str = 'official',
        groups: int | None = None,
        widen_factor: float = 1.0,
        in_channels: int = 3,
        norm_cfg: dict = NORM,
        act_cfg: dict | None = None,
        norm_eval: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        name = type(self).__name__
        known = {
            int(key.removeprefix(name)): variants
            for key, variants in ARCHITECTURES.items()
            if key.removeprefix(name).isdigit()
        }
        variants = pick(known, depth, f'depth of {name}')
        super().__init__(
            pick(variants, variant, 'variant'),
            out_indices,
            frozen_stages,
            groups,
            widen_factor,
            in_channels,
            norm_cfg,
            act_cfg,
            norm_eval,
            init_cfg,
        )


@MODELS.register_module()
class CSPResNet(CSPResidual):
    """ResNet-50 of CSP stages.

    The four stages have strides 4 to 32 and 128, 256, 512, 1024 channels, half
    as many as those of ResNet-50.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929; csresnet50.cfg of
    WongKinYiu/CrossStagePartialNetworks.

    Args:
        depth: 50.
        out_indices: Stages whose outputs are returned, 0 to 3.
        frozen_stages: How many stages are not trained, 0: the stem alone,
            -1: all are trained.
        variant: ``'official'``, or ``'mmpretrain'`` for weights that come
            from timm. There the first block of stage 1 has the width of the
            others (officially half of it, so that its shortcut reaches half
            of the channels), bypass and main part are linear in all stages,
            the max-pooling is 3x3 and the slope of the leaky ReLU 0.01.
        groups: Groups of the 3x3 convolutions; None: as published.
        widen_factor: Factor of all channels.
        in_channels: Channels of the images.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations; None: the leaky ReLU of the
            variant. ``dict(type='Mish')``: the networks called omega.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: An unknown depth or variant, stages out of range, or
            channels that ``groups`` does not divide.
    """


@MODELS.register_module()
class CSPResNeXt(CSPResidual):
    """ResNeXt-50 32x4d of CSP stages.

    The four stages have strides 4 to 32 and 256, 512, 1024, 2048 channels,
    those of ResNeXt-50. The 3x3 convolutions of stride 2 have groups too.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929; csresnext50.cfg of
    WongKinYiu/CrossStagePartialNetworks.

    Args: those of ``CSPResNet``; ``groups`` is 32 by default.

    Raises:
        ValueError: As ``CSPResNet``.
    """
