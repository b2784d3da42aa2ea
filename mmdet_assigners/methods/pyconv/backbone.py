"""PyConvResNet and PyConvHGResNet."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models.backbones import ResNet
from mmdet.registry import MODELS
from mmengine.model import Sequential
from torch import Tensor, nn

from ...models.checks import (
    check_depth,
    check_stages,
    refuse_other_weights,
)
from .blocks import (
    PyConvBasicBlock,
    PyConvBottleneck,
    PyConvHGBottleneck,
    make_shortcut,
)
from .pyconv import GROUPS, KERNELS

Pyramids = Sequence[Sequence[int]]
# a level less in each stage
_KERNELS = tuple(KERNELS[:count] for count in (4, 3, 2, 1))
_GROUPS = tuple(GROUPS[:count] for count in (4, 3, 2, 1))
_HG_GROUPS = ((32, 32, 32, 32), (32, 64, 64), (32, 64), (32,))
_BN = dict(type='BN', requires_grad=True)


@MODELS.register_module()
class PyConvResNet(ResNet):
    """ResNet with pyramidal convolutions.

    A PyConv takes the place of every 3x3, with 4, 3, 2 and 1 levels in the
    four stages. There is no max-pooling after the stem: the first stage has
    stride 2, so strides are those of ResNet, 4, 8, 16 and 32. Where a shortcut
    has a stride, it is a max-pooling before a 1x1 of stride 1. Channels are
    those of ResNet, 256 to 2048; with 18 and 34 layers 64 to 512.

    Paper: Pyramidal Convolution, arXiv 2006.11538, table 1; with 18 and 34
    layers the official code alone (iduta/pyconv). Parameters have the official
    names: a file of the authors loads by ``init_cfg`` as it is.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of the images.
        stem_channels: Channels of the stem.
        base_channels: Channels of the PyConvs of the first stage; doubled in
            each further one.
        num_stages: How many stages there are, at most 4.
        strides: Of the stages. The first is 2, in a ResNet 1 after its max
            pooling.
        kernels: Kernel sizes of the pyramid of each stage.
        groups: Groups of the pyramid of each stage.
        out_indices: Stages whose outputs are returned.
        frozen_stages: How many stages are not trained, 0: the stem alone,
            -1: all are trained.
        norm_cfg: Config of the norms.
        norm_eval: Keep batch normalization in eval mode.
        style: ``'pytorch'``: the stride is in the PyConv. There is no other;
            the argument is here for configs that inherit one with ResNet.
        plugins: As in ``ResNet``, for blocks with three convolutions.
        with_cp: Compute activations again in the backward pass.
        zero_init_residual: Start each block as its shortcut.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: A depth that does not exist, stages out of range, or
            channels that the groups of a level do not divide.
    """

    arch_settings = {
        18: (PyConvBasicBlock, (2, 2, 2, 2)),
        34: (PyConvBasicBlock, (3, 4, 6, 3)),
        50: (PyConvBottleneck, (3, 4, 6, 3)),
        101: (PyConvBottleneck, (3, 4, 23, 3)),
        152: (PyConvBottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int = 64,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (2, 2, 2, 2),
        kernels: Pyramids = _KERNELS,
        groups: Pyramids = _GROUPS,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict = _BN,
        norm_eval: bool = True,
        style: str = 'pytorch',
        plugins: list[dict] | None = None,
        with_cp: bool = False,
        zero_init_residual: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check_depth(self, depth, self.arch_settings)
        if style != 'pytorch':
            raise ValueError(f"style must be 'pytorch', got {style!r}")
        if not 1 <= num_stages <= 4:
            raise ValueError(f'num_stages must be 1 to 4, got {num_stages}')
        check_stages(num_stages, out_indices, frozen_stages)
        for name, value in dict(
            strides=strides, kernels=kernels, groups=groups
        ).items():
            if len(value) < num_stages:
                raise ValueError(
                    f'{name} must have an entry for each of {num_stages} '
                    f'stages, got {value}'
                )
        self.pyramids = list(zip(kernels, groups, strict=False))
        super().__init__(
            depth,
            in_channels=in_channels,
            stem_channels=stem_channels,
            base_channels=base_channels,
            num_stages=num_stages,
            strides=tuple(strides)[:num_stages],
            dilations=(1,) * num_stages,
            out_indices=tuple(out_indices),
            frozen_stages=frozen_stages,
            norm_cfg=norm_cfg,
            norm_eval=norm_eval,
            plugins=plugins,
            with_cp=with_cp,
            zero_init_residual=zero_init_residual,
            init_cfg=init_cfg,
        )
        self.maxpool = nn.Identity()

    def make_res_layer(
        self,
        block: type[PyConvBottleneck],
        inplanes: int,
        planes: int,
        num_blocks: int,
        stride: int,
        norm_cfg: dict,
        with_cp: bool,
        plugins: list[dict] | None,
        **_: Any,
    ) -> Sequential:
        """The blocks of the next stage.

        Args:
            block: Class of the blocks.
            inplanes: Channels of the stage's input.
            planes: Channels of its PyConvs.
            num_blocks: Number of blocks.
            stride: Of the first block.
            norm_cfg: Config of the norms.
            with_cp: Compute activations again in the backward pass.
            plugins: Of this stage.
        """
        stage = len(self.res_layers)
        kernels, groups = self.pyramids[stage]
        options: dict[str, Any] = dict(
            kernels=kernels,
            groups=groups,
            norm_cfg=norm_cfg,
            with_cp=with_cp,
            plugins=plugins,
        )
        if self.zero_init_residual:
            last = 'norm2' if block is PyConvBasicBlock else 'norm3'
            options['init_cfg'] = dict(
                type='Constant', val=0, override=dict(name=last)
            )
        out = planes * block.expansion
        shortcut = make_shortcut(inplanes, out, stride, norm_cfg)
        shapes = [(inplanes, stride, shortcut)]
        shapes += [(out, 1, None)] * (num_blocks - 1)
        try:
            return Sequential(
                *(
                    block(width, planes, step, downsample=first, **options)
                    for width, step, first in shapes
                )
            )
        except ValueError as error:
            raise ValueError(f'layer{stage + 1}: {error}') from error

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any
    ) -> None:
        refuse_plain(self, state_dict, prefix)
        refuse_other_weights(self, state_dict, prefix, 'pyconv')
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class PyConvHGResNet(PyConvResNet):
    """PyConvResNet with more groups and PyConvs of twice the channels.

    Paper: Pyramidal Convolution, arXiv 2006.11538, table 1.

    Args: those of `PyConvResNet`; the depth is 50, 101 or 152.
    """

    arch_settings = {
        50: (PyConvHGBottleneck, (3, 4, 6, 3)),
        101: (PyConvHGBottleneck, (3, 4, 23, 3)),
        152: (PyConvHGBottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        base_channels: int = 128,
        groups: Pyramids = _HG_GROUPS,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            depth, base_channels=base_channels, groups=groups, **kwargs
        )


def refuse_plain(
    module: nn.Module, state: Mapping[str, Tensor], prefix: str = ''
) -> None:
    """Refuse the weights of a ResNet, whose 3x3 a pyramid has no place for.

    mmengine would leave the pyramids at random and only log it.

    Args:
        module: Has the pyramids.
        state: State dict, tensors (...) by name.
        prefix: Of the names of the module in it.

    Raises:
        ValueError: Names the convolutions.
    """
    plain = [
        name
        for level in module.state_dict()
        if level.endswith('.conv2_1.weight')
        and (name := prefix + level.replace('.conv2_1', '')) in state
    ]
    if plain:
        shape = tuple(state[plain[0]].shape)
        raise ValueError(
            f'{len(plain)} convolutions are those of a plain ResNet, such as '
            f'{plain[0]} {shape}: {type(module).__name__} has pyramids there, '
            'which no 3x3 can be converted to; use weights of iduta/pyconv '
            '(see its README) or init_cfg=None'
        )
