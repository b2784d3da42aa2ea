"""Blocks of SpineNet's nodes, and the resampling between them."""

from typing import Any

from mmcv.cnn import ConvModule, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmdet.registry import MODELS
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint

from .functional import drop_block, max_pool
from .graph import Block


def make_activation(cfg: dict) -> nn.Module:
    """An activation, in place where the backward pass allows it."""
    inplace = dict(inplace=True) if cfg['type'] == 'ReLU' else {}
    return MODELS.build(inplace | cfg)


class SpineBlock(BaseModule):
    """Bottleneck or basic block of stride 1.

    Args:
        in_channels: C, channels of the input.
        filters: F, channels inside. The output has 4F of a bottleneck, F of a
            basic block; the shortcut is projected where C differs.
        bottleneck: 1x1, 3x3, 1x1 convolutions; otherwise two 3x3.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
        drop_connect_rate: Share of the samples whose residual is dropped.
        drop_block: Arguments of ``drop_block``, or None.
        with_cp: Compute activations again in the backward pass.
        zero_init: Start as the shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        bottleneck: bool,
        norm_cfg: dict,
        act_cfg: dict,
        drop_connect_rate: float = 0.0,
        drop_block: dict | None = None,
        with_cp: bool = False,
        zero_init: bool = True,
    ) -> None:
        kernels = [1, 3, 1] if bottleneck else [3, 3]
        widths = [filters, filters, 4 * filters][: len(kernels)]
        last = dict(name=f'bn{len(kernels)}')
        zero = dict(type='Constant', val=0, override=last)
        super().__init__(init_cfg=zero if zero_init else None)
        self.depth = len(kernels)
        channels = in_channels
        for i, (kernel, width) in enumerate(
            zip(kernels, widths, strict=True), 1
        ):
            self.add_module(
                f'conv{i}',
                nn.Conv2d(
                    channels, width, kernel, padding=kernel // 2, bias=False
                ),
            )
            self.add_module(f'bn{i}', build_norm_layer(norm_cfg, width)[1])
            channels = width
        self.downsample: nn.Module | None = None
        if in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, bias=False),
                build_norm_layer(norm_cfg, channels)[1],
            )
        self.activation = make_activation(act_cfg)
        self.drop_path = DropPath(drop_connect_rate)
        self.drop_block = drop_block
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block.

        Args:
            x: Maps (B, C, H, W).

        Returns:
            Maps (B, 4F or F, H, W).
        """
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.depth + 1):
            x = getattr(self, f'bn{i}')(getattr(self, f'conv{i}')(x))
            if i < self.depth:
                x = self.activation(x)
            x = self._drop(x)
        return self.activation(self.drop_path(x) + self._drop(shortcut))

    def _drop(self, x: Tensor) -> Tensor:
        if self.drop_block is None or not self.training:
            return x
        return drop_block(x, **self.drop_block)


def make_group(
    in_channels: int, node: Block, width: float, repeats: int, **options: Any
) -> Sequential:
    """The blocks of a node.

    Args:
        in_channels: Channels of their input.
        node: The node.
        width: Of the network.
        repeats: How many blocks.
        **options: Of ``SpineBlock``.
    """
    filters, channels = node.filters(width), node.channels(width)
    return Sequential(
        *(
            SpineBlock(
                channels if i else in_channels,
                filters,
                node.bottleneck,
                **options,
            )
            for i in range(repeats)
        )
    )


class Resample(BaseModule):
    """Bring a parent to the size and channels of a node.

    A 1x1 convolution to fewer channels; a 3x3 of stride 2, followed by
    max-pooling for more than a factor of 2, or nearest upsampling; a 1x1 to
    the channels of the node, without an activation.

    Args:
        in_channels: C, channels of the parent.
        mid_channels: Channels in between.
        out_channels: D, channels of the node.
        scale: Output size / input size, a power of 2.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
        same_pad_pool: Pad the max-pooling as TensorFlow does.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        scale: float,
        norm_cfg: dict,
        act_cfg: dict,
        same_pad_pool: bool = False,
    ) -> None:
        super().__init__()
        layer = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.scale = scale
        self.same_pad_pool = same_pad_pool
        self.squeeze_conv = ConvModule(in_channels, mid_channels, 1, **layer)
        if scale < 1:
            self.downsample_conv = ConvModule(
                mid_channels, mid_channels, 3, stride=2, padding=1, **layer
            )
        self.expand_conv = ConvModule(
            mid_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Resample.

        Args:
            x: Maps (B, C, H, W).

        Returns:
            Maps (B, D, H * scale, W * scale).
        """
        x = self.squeeze_conv(x)
        if self.scale > 1:
            x = interpolate(x, scale_factor=int(self.scale), mode='nearest')
        elif self.scale < 1:
            x = self.downsample_conv(x)
            step = int(0.5 / self.scale)
            if step > 1:
                kernel = 3 if step == 2 else 5
                x = max_pool(x, kernel, step, self.same_pad_pool)
        return self.expand_conv(x)


class Merge(BaseModule):
    """Sum of the resampled parents of a node.

    Args:
        node: The node.
        parents: Its two parents.
        width: Of the network.
        alpha: Factor of the filters of a parent in between.
        **options: Of ``Resample``.

    Raises:
        ValueError: ``alpha`` leaves no channels.
    """

    def __init__(
        self,
        node: Block,
        parents: list[Block],
        width: float,
        alpha: float,
        **options: Any,
    ) -> None:
        super().__init__()
        self.resample_ops = nn.ModuleList()
        for parent in parents:
            mid_channels = int(parent.filters(width) * alpha)
            if mid_channels < 1:
                raise ValueError(
                    f'alpha={alpha} of {parent.filters(width)} filters (level '
                    f'{parent.level}) leaves no channels'
                )
            self.resample_ops.append(
                Resample(
                    parent.channels(width),
                    mid_channels,
                    node.channels(width),
                    2.0 ** (parent.level - node.level),
                    **options,
                )
            )

    def forward(self, parents: list[Tensor]) -> Tensor:
        """Resample and add.

        Args:
            parents: Maps (B, C_i, H_i, W_i) of the two parents.

        Returns:
            Maps (B, D, H, W).
        """
        first, second = self.resample_ops
        return first(parents[0]) + second(parents[1])
