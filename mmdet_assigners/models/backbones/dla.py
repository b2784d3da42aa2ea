"""DLA, the backbone of deep layer aggregation.

Source: arXiv 1707.06484, as in the networks of xingyizhou/CenterNet.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..checks import check_stages
from .frozen_parts import FrozenPartsMixin

BN = dict(type='BN', momentum=0.1)


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    norm_cfg: dict = BN,
) -> nn.Sequential:
    """A convolution without bias and its norm, named 0 and 1."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=kernel // 2,
            bias=False,
        ),
        build_norm_layer(norm_cfg, out_channels)[1],
    )


class DLABlock(nn.Module):
    """Two 3x3 convolutions and the shortcut that the tree gives."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, norm_cfg: dict
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(
            in_channels, out_channels, 3, stride, norm_cfg
        )
        self.conv2, self.bn2 = conv_norm(
            out_channels, out_channels, 3, 1, norm_cfg
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """A map (B, out_channels, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)


class Root(nn.Module):
    """Aggregates the outputs of a tree by a 1x1 convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        residual: bool,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.conv, self.bn = conv_norm(
            in_channels, out_channels, 1, 1, norm_cfg
        )
        self.residual = residual
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """A map (B, out_channels, H, W) of maps of this size, last first."""
        out = self.bn(self.conv(torch.cat(list(maps), 1)))
        if self.residual:
            out = out + maps[0]
        return self.relu(out)


class Tree(nn.Module):
    """A binary tree of blocks with one root.

    The official code also gives a tree of several levels a projection, whose
    output nothing reads; ours has none.

    Args:
        levels: Depth; the tree has ``2 ** levels`` blocks.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first block.
        level_root: The root also reads the input.
        root_residual: The root adds its first input.
        root_channels: Channels that the root reads; by default those of its
            two subtrees and of the input.
        norm_cfg: Norm.
    """

    def __init__(
        self,
        levels: int,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        level_root: bool = False,
        root_residual: bool = False,
        root_channels: int = 0,
        norm_cfg: dict = BN,
    ) -> None:
        super().__init__()
        root_channels = root_channels or 2 * out_channels
        if level_root:
            root_channels += in_channels
        self.level_root = level_root
        self.downsample = nn.MaxPool2d(stride) if stride > 1 else nn.Identity()
        self.deep = levels > 1
        if self.deep:
            shared: Any = dict(root_residual=root_residual, norm_cfg=norm_cfg)
            self.tree1 = Tree(
                levels - 1, in_channels, out_channels, stride, **shared
            )
            self.tree2 = Tree(
                levels - 1,
                out_channels,
                out_channels,
                root_channels=root_channels + out_channels,
                **shared,
            )
            return
        self.tree1 = DLABlock(in_channels, out_channels, stride, norm_cfg)
        self.tree2 = DLABlock(out_channels, out_channels, 1, norm_cfg)
        self.root = Root(root_channels, out_channels, root_residual, norm_cfg)
        self.project = nn.Identity()
        if in_channels != out_channels:
            self.project = conv_norm(in_channels, out_channels, 1, 1, norm_cfg)

    def forward(self, x: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """A map (B, out_channels, H / stride, W / stride).

        Args:
            x: Shape (B, in_channels, H, W).
            earlier: Maps that the root reads, too.
        """
        bottom = self.downsample(x)
        earlier = [*earlier, bottom] if self.level_root else [*earlier]
        if self.deep:
            first = self.tree1(x)
            return self.tree2(first, [*earlier, first])
        first = self.tree1(x, self.project(bottom))
        second = self.tree2(first, first)
        return self.root([second, first, *earlier])


@MODELS.register_module()
class DLANet(FrozenPartsMixin, BaseModule):
    """Deep layer aggregation with basic blocks; the defaults are DLA-34.

    The names of the parameters are the official ones, so that ImageNet
    weights load by ``init_cfg``.

    Args:
        levels: Depth of the six levels; the first two are plain
            convolutions.
        channels: Channels of the six levels, which have the strides 1, 2, 4,
            8, 16 and 32.
        out_indices: Levels whose outputs are returned.
        root_residual: Roots add their first input, as in DLA-X-102.
        frozen_stages: How many levels are not trained, with the layer before
            them; 0 is this layer alone, -1 nothing.
        norm_cfg: Norm.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: A level that there is not, or other than six levels.
    """

    def __init__(
        self,
        levels: Sequence[int] = (1, 1, 1, 2, 2, 1),
        channels: Sequence[int] = (16, 32, 64, 128, 256, 512),
        out_indices: Sequence[int] = (2, 3, 4, 5),
        root_residual: bool = False,
        frozen_stages: int = -1,
        norm_cfg: dict = BN,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer='_BatchNorm'),
            ]
        )
        for name, numbers in (('levels', levels), ('channels', channels)):
            if len(numbers) != 6:
                raise ValueError(
                    f'{name} must have 6 numbers, got {tuple(numbers)}'
                )
        check_stages(6, out_indices, frozen_stages)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

        def plain(i: int, before: int, stride: int, kernel: int = 3) -> list:
            steps = [*conv_norm(before, channels[i], kernel, stride, norm_cfg)]
            return [*steps, nn.ReLU(inplace=True)]

        self.base_layer = nn.Sequential(*plain(0, 3, 1, kernel=7))
        for i, before in ((0, channels[0]), (1, channels[0])):
            steps = []
            for k in range(levels[i]):
                steps += plain(
                    i, channels[i] if k else before, 1 if k else i + 1
                )
            setattr(self, f'level{i}', nn.Sequential(*steps))
        for i in range(2, 6):
            tree = Tree(
                levels[i],
                channels[i - 1],
                channels[i],
                stride=2,
                level_root=i > 2,
                root_residual=root_residual,
                norm_cfg=norm_cfg,
            )
            setattr(self, f'level{i}', tree)

    def parts(self) -> list[nn.Module]:
        """The first layer and the levels."""
        levels = (getattr(self, f'level{i}') for i in range(6))
        return [self.base_layer, *levels]
