"""Candidate operations: what a layer of Hit-Detector may be."""

import functools
import re
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ...catalog import closest

Options = dict[str, Any]
BN: Options = dict(type='BN', requires_grad=True)

_RATES = ('', '_r2', '_r3')
_INVERTED = (
    *(f'ir_k3_e{expand}{rate}' for expand in (1, 3, 6) for rate in _RATES),
    *(f'ir_k5_e1{rate}' for rate in _RATES),
    'ir_k5_e3',
    *(f'ir_k5_e6{rate}' for rate in _RATES),
    'ir_k7_e6',
)
NECK_OPS = (  # in the official order, whose indices are its genotype
    'conv_1x1',
    'ir_k3_e6_d3',
    'ir_k5_e6',
    'ir_k5_e6_d3',
    'sd_k3_d1',
    'sd_k3_d3',
    'sd_k5_d2',
    'sd_k5_d3',
)
# Step 1 chooses from the common space of a part, step 2 from its sub space.
# Of the sub space of the backbone only those of the found one are known; the
# common spaces of neck and head are our choice.
SPACES: dict[str, dict[str, tuple[str, ...]]] = {
    'backbone': {
        'common': ('skip', *_INVERTED, 'sep_k3', 'sep_k5'),
        'sub': (
            'ir_k3_e3',
            'ir_k3_e3_r2',
            'ir_k5_e3',
            'ir_k5_e6',
            'ir_k5_e6_r2',
            'ir_k7_e6',
        ),
    },
    'neck': {
        'common': (
            'conv_1x1',
            *(
                f'ir_k{k}_e6{rate}'
                for k in (3, 5)
                for rate in ('', '_d2', '_d3')
            ),
            *(f'sd_k{k}_d{rate}' for k in (3, 5) for rate in (1, 2, 3)),
        ),
        'sub': NECK_OPS,
    },
    'head': {
        'common': _INVERTED,
        'sub': (
            'ir_k3_e3',
            'ir_k3_e6',
            'ir_k3_e6_r2',
            'ir_k5_e3',
            'ir_k5_e6',
            'ir_k7_e6',
        ),
    },
}
_PLAIN = {'conv1': 1, 'conv3': 3}
_KNOWN = sorted(
    {
        *_PLAIN,
        *(
            op
            for spaces in SPACES.values()
            for ops in spaces.values()
            for op in ops
        ),
    }
)
_PATTERN = re.compile(
    r'ir_k(?P<k>\d+)_e(?P<e>\d+)(?:_[rd](?P<d>\d+))?'
    r'|sd_k(?P<sd_k>\d+)_d(?P<sd_d>\d+)'
    r'|sep_k(?P<sep_k>\d+)'
)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; the input is added if it fits.

    Args:
        in_channels: C.
        out_channels: C_out.
        kernel: Size of the depthwise kernel, odd.
        expand: Channels inside, as a multiple of C.
        stride: Of the depthwise convolution.
        dilation: Of the depthwise convolution.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        expand: int,
        stride: int = 1,
        dilation: int = 1,
        norm_cfg: Options = BN,
    ) -> None:
        super().__init__()
        width = in_channels * expand
        self.shortcut = in_channels == out_channels and stride == 1
        self.conv1 = _conv(in_channels, width, norm_cfg=norm_cfg)
        self.conv2 = _conv(
            width, width, kernel, stride, dilation, width, norm_cfg=norm_cfg
        )
        self.conv3 = _conv(width, out_channels, act=False, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C_out, H_out, W_out)."""
        out = self.conv3(self.conv2(self.conv1(x)))
        return x + out if self.shortcut else out


class SeparableConv(nn.Module):
    """A depthwise convolution, then a 1x1.

    Args:
        in_channels: C.
        out_channels: C_out.
        kernel: Size of the depthwise kernel, odd.
        stride: Of the depthwise convolution.
        dilation: Of the depthwise convolution.
        shortcut: Add the input where shapes are the same.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        shortcut: bool = False,
        norm_cfg: Options = BN,
    ) -> None:
        super().__init__()
        same = in_channels == out_channels and stride == 1
        self.shortcut = shortcut and same
        self.conv1 = _conv(
            in_channels,
            in_channels,
            kernel,
            stride,
            dilation,
            in_channels,
            norm_cfg=norm_cfg,
        )
        self.conv2 = _conv(
            in_channels, out_channels, act=False, norm_cfg=norm_cfg
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C_out, H_out, W_out)."""
        out = self.conv2(self.conv1(x))
        return x + out if self.shortcut else out


class Pointwise(nn.Module):
    """A 1x1 convolution, or nothing.

    Args:
        conv: The convolution; None returns the input.
    """

    def __init__(self, conv: ConvModule | None) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C_out, H_out, W_out)."""
        return x if self.conv is None else self.conv(x)


def check_ops(names: Iterable[str], what: str) -> tuple[str, ...]:
    """The names of operations as a tuple.

    Args:
        names: Of operations.
        what: They are of, for the message.

    Raises:
        ValueError: There is none, or a name is unknown; names the nearest.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(
            f'{what} must be a list of names of operations, got {names!r}'
        )
    names = tuple(names)
    if not names:
        raise ValueError(f'{what} must have at least one operation')
    for name in names:
        if not isinstance(name, str) or not (name in _KNOWN or _sizes(name)):
            raise ValueError(
                f'{what} has an unknown operation {name!r}; '
                f'{closest(str(name), _KNOWN)}'
            )
    return names


def make_op(
    name: str,
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    norm_cfg: Options = BN,
) -> nn.Module:
    """Build an operation by its name.

    - ``ir_kK_eE``, ``ir_kK_eE_rD``, ``ir_kK_eE_dD``: `InvertedResidual`,
      kernel K, expansion E, dilation D;
    - ``sd_kK_dD``: `SeparableConv` with a shortcut, ``sep_kK``: without;
    - ``conv_1x1``: a 1x1 with a bias and no ReLU;
    - ``skip``: the input, or a 1x1 with ReLU where shapes differ;
    - ``conv1``, ``conv3``: an ordinary convolution with ReLU. The one of 3x3,
      the stem, has a bias, as officially.

    Args:
        name: Of the operation.
        in_channels: C.
        out_channels: C_out.
        stride: Of the operation.
        norm_cfg: Config of the norms.

    Returns:
        A module, (B, C, H, W) to (B, C_out, ceil(H / stride), ceil(W /
        stride)). Parameters have the official names.

    Raises:
        ValueError: An unknown name; names the nearest.
    """
    check_ops([name], 'a layer')
    if name in _PLAIN:
        size = _PLAIN[name]
        return _conv(
            in_channels,
            out_channels,
            size,
            stride,
            bias=size == 3,
            norm_cfg=norm_cfg,
        )
    if name == 'conv_1x1':
        conv = _conv(
            in_channels,
            out_channels,
            stride=stride,
            bias=True,
            act=False,
            norm_cfg=norm_cfg,
        )
        return Pointwise(conv)
    if name == 'skip':
        if in_channels == out_channels and stride == 1:
            return Pointwise(None)
        return Pointwise(
            _conv(in_channels, out_channels, stride=stride, norm_cfg=norm_cfg)
        )
    sizes = _sizes(name)
    shapes = (in_channels, out_channels)
    options: Options = dict(stride=stride, norm_cfg=norm_cfg)
    if name.startswith('ir_'):
        return InvertedResidual(
            *shapes,
            sizes['k'],
            sizes['e'],
            dilation=sizes.get('d', 1),
            **options,
        )
    if name.startswith('sd_'):
        return SeparableConv(
            *shapes,
            sizes['sd_k'],
            dilation=sizes['sd_d'],
            shortcut=True,
            **options,
        )
    return SeparableConv(*shapes, sizes['sep_k'], **options)


@functools.cache
def multiply_adds(
    name: str,
    in_channels: int,
    out_channels: int,
    stride: int,
    height: int,
    width: int,
) -> int:
    """Multiply-adds of an operation, by a dry forward without memory.

    Args:
        name: Of the operation.
        in_channels: C.
        out_channels: C_out.
        stride: Of the operation.
        height: H of its input.
        width: W of its input.
    """
    with torch.device('meta'):
        op = make_op(name, in_channels, out_channels, stride).eval()
        x = torch.zeros(1, in_channels, height, width)
        with FlopCounterMode(display=False) as counter:
            op(x)
    return counter.get_total_flops() // 2


def _sizes(name: str) -> dict[str, int]:
    """Numbers in a name, {} if it has no meaning."""
    match = _PATTERN.fullmatch(name)
    found = match.groupdict() if match else {}
    sizes = {key: int(n) for key, n in found.items() if n is not None}
    kernel = next((n for key, n in sizes.items() if key.endswith('k')), 0)
    return sizes if kernel % 2 and all(sizes.values()) else {}


def _conv(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    act: bool = True,
    norm_cfg: Options = BN,
) -> ConvModule:
    with warnings.catch_warnings():
        # mmcv finds a bias before a norm unnecessary
        warnings.filterwarnings('ignore', message='Unnecessary conv bias')
        return ConvModule(
            in_channels,
            out_channels,
            kernel,
            stride,
            (kernel - 1) * dilation // 2,
            dilation,
            groups,
            bias=bias,
            norm_cfg=norm_cfg,
            act_cfg=dict(type='ReLU') if act else None,
        )
