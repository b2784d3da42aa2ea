"""PyConvSSD: the extra layers and predictors of SSD with PyConvs.

What follows is our reading, because no text with the details was found, and
stays configurable: which layers have a pyramid of how many levels, and how a
predictor is made of one.
"""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmdet.models.necks import SSDNeck
from mmdet.registry import MODELS
from torch import nn

from ...models.dense_heads.flat_ssd_head import FlatSSDHead
from .pyconv import GROUPS, KERNELS

# levels on maps of 38, 19, 10, 5, 3 and 1 cells
LEVELS = (4, 3, 2, 1, 1, 1)


def conv_cfg_of(levels: int) -> dict | None:
    """``conv_cfg`` of a pyramid with this many levels; None for one.

    Args:
        levels: 1 to 4 levels of kernels 3, 5, 7, 9 and groups 1, 4, 8, 16.
    """
    if levels == 1:
        return None
    pyramid = tuple(zip(KERNELS, GROUPS, strict=True))[:levels]
    return dict(type='PyConv2d', levels=pyramid)


@MODELS.register_module()
class PyConvSSDNeck(SSDNeck):
    """Extra layers of SSD whose 3x3 convolutions are PyConvs.

    A layer has as many levels as its input map has in the detector: 4 at 38
    cells, 3 at 19, 2 at 10 and a plain 3x3 below. The map that comes from the
    backbone is not normalized unless ``l2_norm_scale`` says so.

    Paper: Pyramidal Convolution, arXiv 2006.11538, PyConvSSD.

    Args:
        in_channels: Channels of the maps of the backbone.
        out_channels: Channels of all maps.
        level_strides: Stride of the 3x3 of each extra layer.
        level_paddings: Padding of the 3x3 of each extra layer.
        levels: Levels of the pyramid of each extra layer, 1: a plain 3x3.
        l2_norm_scale: Scale of the L2 normalization of the first map; None:
            there is none.
        norm_cfg: Config of the norms.
        **kwargs: Further arguments of ``SSDNeck``.

    Raises:
        ValueError: Not one number of levels per extra layer, a number that is
            not 1 to 4, or a pyramid in a layer without padding 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        level_strides: Sequence[int],
        level_paddings: Sequence[int],
        levels: Sequence[int] = LEVELS[:5],
        l2_norm_scale: float | None = None,
        norm_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            level_strides,
            level_paddings,
            l2_norm_scale=l2_norm_scale,
            norm_cfg=norm_cfg,
            **kwargs,
        )
        _check_levels(levels, len(self.extra_layers), 'extra layer')
        for layer, count, padding in zip(
            self.extra_layers, levels, level_paddings, strict=True
        ):
            if count == 1:
                continue
            if padding != 1:
                raise ValueError(
                    f'an extra layer with a pyramid of {count} levels needs '
                    f'level_paddings 1, got {padding}'
                )
            plain = layer[1].conv
            layer[1] = ConvModule(
                plain.in_channels,
                plain.out_channels,
                3,
                stride=plain.stride,
                padding=1,
                conv_cfg=conv_cfg_of(count),
                norm_cfg=norm_cfg,
                act_cfg=kwargs.get('act_cfg', dict(type='ReLU')),
            )


@MODELS.register_module()
class PyConvSSDHead(FlatSSDHead):
    """SSD whose predictors are PyConvs on the large maps.

    The channels of a predictor, anchors x classes, are not divisible by the
    groups of a pyramid. It is therefore a PyConv of ``pyconv_channels`` and a
    1x1, by default without norm and activation in between, as the 3x3 is that
    it replaces. Losses and anchors are SSD's.

    Paper: Pyramidal Convolution, arXiv 2006.11538, PyConvSSD.

    Args:
        levels: Levels of the pyramid on each map, 1: SSD's 3x3.
        pyconv_channels: Output channels of the PyConvs; None: those of the
            map, which makes the detector larger than SSD.
        norm_cfg: Config of a norm after the PyConv.
        act_cfg: Config of an activation after the PyConv.
        **kwargs: Further arguments of ``FlatSSDHead``.

    Raises:
        ValueError: Not one number of levels per map, a number that is not 1
            to 4, or ``use_depthwise``.
    """

    def __init__(
        self,
        *args: Any,
        levels: Sequence[int] = LEVELS,
        pyconv_channels: int | None = 256,
        **kwargs: Any,
    ) -> None:
        if kwargs.get('use_depthwise'):
            raise ValueError('PyConvSSDHead excludes use_depthwise=True')
        self.levels = levels
        self.pyconv_channels = pyconv_channels
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        _check_levels(self.levels, len(self.cls_convs), 'map')
        for branch in (self.cls_convs, self.reg_convs):
            for layers, count in zip(branch, self.levels, strict=True):
                if count == 1:
                    continue
                plain = layers[-1]
                width = self.pyconv_channels or plain.in_channels
                layers[-1] = ConvModule(
                    plain.in_channels,
                    width,
                    3,
                    padding=1,
                    bias=False,  # the 1x1 has one
                    conv_cfg=conv_cfg_of(count),
                    norm_cfg=self.norm_cfg,
                    act_cfg=self.act_cfg,
                )
                layers.append(nn.Conv2d(width, plain.out_channels, 1))


def _check_levels(levels: Sequence[int], count: int, what: str) -> None:
    if len(levels) != count or not all(1 <= n <= 4 for n in levels):
        raise ValueError(
            f'levels must be 1 to 4 for each {what} ({count}), got '
            f'{tuple(levels)}'
        )
