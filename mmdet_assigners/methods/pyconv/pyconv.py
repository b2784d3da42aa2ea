"""PyConv: one convolution out of several of growing kernel size."""

from collections.abc import Iterable, Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from .functional import grouped_conv2d, split_channels

KERNELS = (3, 5, 7, 9)
GROUPS = (1, 4, 8, 16)


class LevelConv2d(nn.Conv2d):
    """A level of the pyramid: a grouped ``Conv2d``, fast on a CPU too."""

    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        return grouped_conv2d(
            input,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


def make_levels(
    in_channels: int,
    out_channels: Sequence[int],
    kernels: Sequence[int],
    groups: Sequence[int],
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> list[LevelConv2d]:
    """The convolutions of a pyramid.

    Args:
        in_channels: Channels C of the input, which each level sees.
        out_channels: Channels of each level.
        kernels: Kernel size of each level.
        groups: Groups of each level.
        stride: Of all levels.
        dilation: Of all levels. The padding is half of the kernel size
            whatever the dilation, as officially.
        bias: Whether the levels have biases.

    Raises:
        ValueError: Not one number per level, channels that are not divisible
            by the groups, or levels whose maps would differ in size.
    """
    if not len(out_channels) == len(kernels) == len(groups) > 0:
        raise ValueError(
            'out_channels, kernels and groups must have one number per level, '
            f'got {list(out_channels)}, {list(kernels)} and {list(groups)}'
        )
    for out, kernel, count in zip(out_channels, kernels, groups, strict=True):
        if count < 1 or in_channels % count or out % count or not out:
            raise ValueError(
                f'groups={count} of the level with kernel {kernel} must '
                f'divide its {in_channels} input and {out} output channels'
            )
    if len({dilation * (k - 1) - 2 * (k // 2) for k in kernels}) > 1:
        raise ValueError(
            f'levels with kernels {list(kernels)} and dilation={dilation} '
            'would give maps of different sizes: the padding is kernel // 2'
        )
    shapes = zip(out_channels, kernels, groups, strict=True)
    return [
        LevelConv2d(
            in_channels,
            out,
            kernel,
            stride,
            padding=kernel // 2,
            dilation=dilation,
            groups=count,
            bias=bias,
        )
        for out, kernel, count in shapes
    ]


def join_levels(levels: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Apply all levels to (B, C, H, W) and join their channels, in order."""
    return torch.cat([level(x) for level in levels], 1)


@MODELS.register_module()
class PyConv2d(nn.Module):
    """Pyramidal convolution: parallel convolutions of growing kernel size.

    Their outputs are joined along the channels. With the kernels grow the
    groups, so that a level costs about as much as the first.

    Paper: Pyramidal Convolution, arXiv 2006.11538. Names of the parameters
    are those of the official class (iduta/pyconv).

    It also takes the place of a plain 3x3 through ``conv_cfg``::

        conv_cfg=dict(type='PyConv2d', levels=((3, 1), (5, 4)))

    Then ``kernels`` and ``groups`` are the numbers of that 3x3 and the
    pyramid is in ``levels``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of each level, or of all together, which are
            split as in the networks of the paper (see `split_channels`).
        kernels: Kernel size of each level; 3 for a plain 3x3.
        groups: Groups of each level; 1 for a plain 3x3.
        stride: Of all levels.
        dilation: Of all levels; the padding ignores it, as officially.
        bias: Whether the levels have biases.
        padding: That of the plain 3x3, 1; a pyramid pads each level by half
            of its kernel.
        levels: (kernel, groups) of each level, in place of a plain 3x3.

    Raises:
        ValueError: Channels that are not divisible by the groups, or a
            convolution that a pyramid can't replace.
    """

    transposed = False
    output_padding = (0, 0)

    def __init__(
        self,
        in_channels: int,
        out_channels: int | Sequence[int],
        kernels: int | Sequence[int] = KERNELS,
        groups: int | Sequence[int] = GROUPS,
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        bias: bool = False,
        *,
        padding: int | Sequence[int] | None = None,
        levels: Sequence[Sequence[int]] = tuple(
            zip(KERNELS, GROUPS, strict=True)
        ),
    ) -> None:
        super().__init__()
        stride, dilation = _number(stride), _number(dilation)
        if isinstance(kernels, int):
            if kernels != 3 or groups != 1 or padding not in (None, 1, (1, 1)):
                raise ValueError(
                    'PyConv2d takes the place of a 3x3 with padding 1 and one '
                    f'group, got kernel {kernels}, padding {padding} and '
                    f'groups {groups}'
                )
            kernels, groups = zip(*levels, strict=True)
        elif padding is not None:
            raise ValueError(
                f'padding={padding}: the levels of a pyramid pad by half of '
                'their kernels'
            )
        if isinstance(groups, int):
            raise ValueError(f'groups must be one per level, got {groups}')
        if isinstance(out_channels, int):
            out_channels = split_channels(out_channels, len(kernels))
        self.pyconv_levels = nn.ModuleList(
            make_levels(
                in_channels,
                out_channels,
                kernels,
                groups,
                stride,
                dilation,
                bias,
            )
        )
        # what ConvModule reads of a convolution
        self.in_channels = in_channels
        self.out_channels = sum(out_channels)
        self.kernel_size = (max(kernels),) * 2
        self.stride = (stride,) * 2
        self.padding = (max(kernels) // 2,) * 2
        self.dilation = (dilation,) * 2
        self.groups = tuple(groups)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (B, C_in, H, W).

        Returns:
            Tensor: (B, C_out, ceil(H / stride), ceil(W / stride)).
        """
        return join_levels(self.pyconv_levels, x)


class NamedPyConv2d(nn.ModuleDict):
    """The pyramid inside a block, with the official names of its levels.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of all levels together.
        kernels: Kernel size of each level.
        groups: Groups of each level.
        stride: Of all levels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernels: Sequence[int],
        groups: Sequence[int],
        stride: int,
    ) -> None:
        split = split_channels(out_channels, len(kernels))
        convs = make_levels(in_channels, split, kernels, groups, stride)
        super().__init__(
            {f'conv2_{i}': conv for i, conv in enumerate(convs, 1)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (B, C_in, H, W).

        Returns:
            Tensor: (B, C_out, ceil(H / stride), ceil(W / stride)).
        """
        return join_levels(self.values(), x)


def build_pyconv(
    in_channels: int,
    out_channels: int,
    kernels: Sequence[int],
    groups: Sequence[int],
    stride: int,
) -> nn.Module:
    """The convolution of a block: a pyramid, or the plain one of one level.

    Args: those of `NamedPyConv2d`.
    """
    if len(kernels) > 1:
        return NamedPyConv2d(
            in_channels, out_channels, kernels, groups, stride
        )
    return make_levels(in_channels, [out_channels], kernels, groups, stride)[0]


def _number(value: int | Sequence[int]) -> int:
    """The one number of a size."""
    if isinstance(value, int):
        return value
    if len(set(value)) > 1:
        raise ValueError(f'stride and dilation must be square, got {value}')
    return value[0]
