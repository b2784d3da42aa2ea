"""Residual blocks whose 3x3 is a PyConv."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from torch import nn

from .pyconv import build_pyconv


class PyConvBottleneck(Bottleneck):
    """ResNet's bottleneck with a PyConv as its second convolution.

    Args:
        inplanes: Channels of the input.
        planes: Channels of the PyConv, a quarter of the output.
        stride: Of the PyConv.
        kernels: Kernel size of each level of the pyramid.
        groups: Groups of each level.
        downsample: The shortcut, see `make_shortcut`.
        **kwargs: ``norm_cfg``, ``with_cp``, ``plugins`` and ``init_cfg`` of
            mmdet's block.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        *,
        kernels: Sequence[int],
        groups: Sequence[int],
        downsample: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            inplanes, planes, stride, downsample=downsample, **kwargs
        )
        self.conv2 = build_pyconv(planes, planes, kernels, groups, stride)


class PyConvHGBottleneck(PyConvBottleneck):
    """The same with a PyConv of half the output's channels."""

    expansion = 2


class PyConvBasicBlock(BasicBlock):
    """A PyConv and a 1x1 convolution, the block of 18 and 34 layers.

    Args: those of `PyConvBottleneck`.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        *,
        kernels: Sequence[int],
        groups: Sequence[int],
        downsample: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            inplanes, planes, stride, downsample=downsample, **kwargs
        )
        self.conv1 = build_pyconv(inplanes, planes, kernels, groups, stride)
        self.conv2 = nn.Conv2d(planes, planes, 1, bias=False)


def make_shortcut(
    in_channels: int, out_channels: int, stride: int, norm_cfg: dict
) -> nn.Module | None:
    """What is added to the output of a block, None: its input.

    Max-pooling where the stride is not 1, then a 1x1 convolution with its
    norm where the numbers of channels differ.

    Args:
        in_channels: Channels of the block's input.
        out_channels: Channels of its output.
        stride: Of the block.
        norm_cfg: Config of the norm.
    """
    layers: list[nn.Module] = []
    if stride != 1:
        layers.append(nn.MaxPool2d(3, stride, padding=1))
    if in_channels != out_channels:
        layers += [
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            build_norm_layer(norm_cfg, out_channels)[1],
        ]
    return nn.Sequential(*layers) if layers else None
