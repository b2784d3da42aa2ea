"""ResNet and ResNeXt whose 3x3 convolutions are poly-scale."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.backbones import ResNet, ResNeXt
from mmdet.models.backbones.resnet import Bottleneck
from mmdet.models.backbones.resnext import Bottleneck as ResNeXtBottleneck
from mmdet.models.layers import ResLayer
from mmdet.registry import MODELS

from ...models.checks import (
    check_depth,
    check_stages,
    refuse_other_weights,
)
from .layers import PSConv2d, PSGConv2d

Options = dict[str, Any]


class PSBottleneck(Bottleneck):
    """Bottleneck of ResNet with a poly-scale ``conv2``.

    Args:
        inplanes: C, channels of the input.
        planes: Channels inside; the output has four times as many.
        psconv: Options of ``PSConv2d``.
        **kwargs: Arguments of mmdet's ``Bottleneck``. Its ``dilation`` does
            not count; with ``dcn`` its convolution stays.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        psconv: Options | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inplanes, planes, **kwargs)
        if not self.with_dcn:
            self.conv2 = PSConv2d(
                planes, planes, stride=self.conv2_stride, **(psconv or {})
            )


class PSXBottleneck(ResNeXtBottleneck):
    """Bottleneck of ResNeXt with a poly-scale ``conv2``.

    Args:
        inplanes: C, channels of the input.
        planes: A quarter of the channels of the output.
        psconv: Options of ``PSGConv2d``.
        **kwargs: Arguments of mmdet's ``Bottleneck`` of ResNeXt. Its
            ``dilation`` does not count; with ``dcn`` its convolution stays.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        psconv: Options | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inplanes, planes, **kwargs)
        if not self.with_dcn:
            self.conv2 = _in_place_of_conv2(self, **(psconv or {}))


def _in_place_of_conv2(block: Any, **options: Any) -> PSGConv2d:
    plain = block.conv2
    return PSGConv2d(
        plain.in_channels,
        plain.out_channels,
        stride=plain.stride,
        groups=plain.groups,
        **options,
    )


class PolyScaleNet(ResNet):
    """What `PSResNet` and `PSResNeXt` add to their parents."""

    def __init__(
        self, depth: int, psconv: Options, from_dense: bool, **kwargs: Any
    ) -> None:
        check_depth(self, depth, self.arch_settings)
        _check_stages(**kwargs)
        self.psconv = psconv
        self.from_dense = from_dense
        self._has_init_cfg = bool(
            kwargs.get('init_cfg') or kwargs.get('pretrained')
        )
        super().__init__(depth=depth, **kwargs)

    def make_res_layer(self, **kwargs: Any) -> ResLayer:
        """Make the blocks of a stage."""
        return super().make_res_layer(psconv=self.psconv, **kwargs)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        layers = {
            f'{prefix}{name}.': layer
            for name, layer in self.named_modules()
            if isinstance(layer, PSGConv2d)
        }
        dense = [name for name in layers if f'{name}weight' in state_dict]
        if dense and not self.from_dense:
            raise ValueError(
                f'{len(dense)} keys are of plain convolutions and do not fit '
                f'{type(self).__name__}, {dense[0]}weight to '
                f'{dense[-1]}weight; the backbone starts from them with '
                'from_dense=True'
            )
        for name in dense:
            parts = layers[name].split(state_dict.pop(f'{name}weight'))
            for part, weight in parts.items():
                state_dict[f'{name}{part}.weight'] = weight
        refuse_other_weights(self, state_dict, prefix, 'psconv')
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class PSResNet(PolyScaleNet):
    """ResNet-50, 101 or 152 with a ``PSConv2d`` in every bottleneck.

    Paper: PSConv, ECCV 2020, arXiv 2007.06191. State dicts have the names of
    the official code.

    Args:
        depth: 50, 101 or 152.
        dilation: Base rate of the convolutions, 2 in the paper.
        parts: Number of their channel blocks, 4 in the paper.
        apply_mask_in_forward: As in ``PSGConv2d``.
        from_dense: Take checkpoints of a plain ResNet too: their kernels are
            distributed over those of the layers. An initialization, at other
            dilation rates.
        **kwargs: Arguments of mmdet's ``ResNet``. ``dilations`` of stages do
            not count in the 3x3 convolutions; stages with ``dcn`` stay plain.

    Raises:
        ValueError: An unknown depth, or a stage that the network lacks; on
            loading, a checkpoint of a plain ResNet without ``from_dense``.
    """

    arch_settings = {
        depth: (PSBottleneck, blocks)
        for depth, (block, blocks) in ResNet.arch_settings.items()
        if block is Bottleneck
    }

    def __init__(
        self,
        depth: int,
        dilation: int = 2,
        parts: int = 4,
        apply_mask_in_forward: bool = True,
        from_dense: bool = False,
        **kwargs: Any,
    ) -> None:
        psconv = dict(
            dilation=dilation,
            parts=parts,
            apply_mask_in_forward=apply_mask_in_forward,
        )
        super().__init__(depth, psconv, from_dense, **kwargs)

    def make_res_layer(self, **kwargs: Any) -> ResLayer:
        """Make the blocks of a stage."""
        # mmdet starts its own Bottleneck as the identity, but no other class
        if self.zero_init_residual and not self._has_init_cfg:
            zero = dict(type='Constant', val=0, override=dict(name='norm3'))
            kwargs['init_cfg'] = zero
        return super().make_res_layer(**kwargs)


@MODELS.register_module()
class PSResNeXt(PolyScaleNet, ResNeXt):
    """ResNeXt-50, 101 or 152 with a ``PSGConv2d`` in every bottleneck.

    As ``PSResNet``.

    Args:
        depth: 50, 101 or 152.
        groups: Groups of a 3x3 convolution, 32 for 32x4d.
        base_width: Their width in the first stage, 4 for 32x4d.
        dilation: Base rate of the convolutions, 2 in the paper.
        parts: Number of channel blocks in a group, 4 in the paper.
        mask_mode: ``'official'`` as the released weights, or ``'paper'``; see
            ``PSGConv2d``.
        apply_mask_in_forward: As in ``PSGConv2d``.
        from_dense: Take checkpoints of a plain ResNeXt too.
        **kwargs: Arguments of mmdet's ``ResNeXt``.

    Raises:
        ValueError: As ``PSResNet``.
    """

    arch_settings = {
        depth: (PSXBottleneck, blocks)
        for depth, (_, blocks) in ResNeXt.arch_settings.items()
    }

    def __init__(
        self,
        depth: int,
        groups: int = 32,
        base_width: int = 4,
        dilation: int = 2,
        parts: int = 4,
        mask_mode: str = 'official',
        apply_mask_in_forward: bool = True,
        from_dense: bool = False,
        **kwargs: Any,
    ) -> None:
        psconv = dict(
            dilation=dilation,
            parts=parts,
            mask_mode=mask_mode,
            apply_mask_in_forward=apply_mask_in_forward,
        )
        super().__init__(
            depth,
            psconv,
            from_dense,
            groups=groups,
            base_width=base_width,
            **kwargs,
        )


def _check_stages(
    num_stages: int = 4,
    out_indices: Sequence[int] = (0, 1, 2, 3),
    frozen_stages: int = -1,
    **_: Any,
) -> None:
    if not 1 <= num_stages <= 4:
        raise ValueError(f'num_stages must be 1 to 4, got {num_stages}')
    check_stages(num_stages, out_indices, frozen_stages)
