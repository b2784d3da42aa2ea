"""Poly-scale convolutions with the parameters of the official code."""

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from .functional import mask_blocks, ps_conv2d, split_dense

MASK_MODES = ('paper', 'official')


@MODELS.register_module('PSGConv')
class PSGConv2d(nn.Module):
    """Poly-scale convolution with groups, in place of a 3x3 convolution.

    Every kernel slice of an output and an input channel has a dilation rate of
    its own, see ``functional.py``; parameters and multiply-adds are those of
    the plain convolution. Stored are half as many more: ``conv`` has the full
    shape, with zeros where the dilated ``gwconv`` and ``gwconv_shift`` are.

    Paper: PSConv: Squeezing Feature Pyramid into One Compact Poly-Scale
    Convolutional Layer, ECCV 2020, arXiv 2007.06191.

    Differences from the official code: the zeros are the same, but they are
    in the computation, not in a gradient hook, so that no copy, device or
    initialization loses them; ``apply_mask_in_forward=False`` restores that
    what is under the mask counts and is not trained. Names and shapes of the
    parameters, and results, are the official ones.

    Args:
        in_channels: C_in, a multiple of ``groups * parts``.
        out_channels: C_out, a multiple of ``groups * parts``.
        kernel_size: 3.
        stride: Of the convolution.
        padding: 1.
        dilation: Base rate d: the rates are 1, d, 1 and 2d. Officially 2 in
            every config. mmcv's ``ConvModule`` passes its own, 1 by default.
        base_rate: Replaces ``dilation``, for a ``conv_cfg``.
        groups: G.
        parts: Number of channel blocks P in a group, even; 4 in the paper.
            With 2 no rate is 1: ``conv.weight`` is all zeros, not trained.
        bias: Whether each of the three kernels has a bias; they add up.
        mask_mode: ``'paper'``, or ``'official'`` for the zeros that the
            official code has, which for G > P leaves most groups dense.
        apply_mask_in_forward: Whether what is stored under the mask is taken
            as zero. Without, it counts, and is not trained.

    Raises:
        ValueError: A size that does not fit, or an unknown ``mask_mode``.
    """

    transposed = False
    output_padding = (0, 0)  # ConvModule asks for it

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 2,
        groups: int = 1,
        parts: int = 4,
        bias: bool = False,
        mask_mode: str = 'paper',
        apply_mask_in_forward: bool = True,
        base_rate: int | None = None,
    ) -> None:
        super().__init__()
        name = 'dilation' if base_rate is None else 'base_rate'
        dilation = dilation if base_rate is None else base_rate
        rate = dilation[0] if isinstance(dilation, tuple) else dilation
        _check(in_channels, out_channels, kernel_size, padding, groups, parts)
        if rate < 1 or dilation not in (rate, (rate, rate)):
            raise ValueError(f'{name} must be one number >= 1, got {dilation}')
        if mask_mode not in MASK_MODES:
            raise ValueError(
                f'mask_mode must be one of {MASK_MODES}, got {mask_mode!r}'
            )
        sizes = (in_channels, out_channels, 3, stride)
        blocks = groups * parts
        self.gwconv = nn.Conv2d(*sizes, rate, rate, blocks, bias)
        self.gwconv_shift = nn.Conv2d(*sizes, 2 * rate, 2 * rate, blocks, bias)
        self.conv = nn.Conv2d(*sizes, 1, 1, groups, bias)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.padding = (3, 3), (1, 1)
        self.stride, self.dilation = self.conv.stride, (rate, rate)
        self.groups, self.parts = groups, parts
        self.mask_mode = mask_mode
        self.apply_mask_in_forward = apply_mask_in_forward
        mask = mask_blocks(groups, parts, mask_mode)
        for dim, channels in enumerate((out_channels, in_channels)):
            mask = mask.repeat_interleave(channels // blocks, dim)
        self.register_buffer('conv_mask', mask[..., None, None], False)
        # with 2 parts all of it is under the mask: stored as officially, but
        # without a gradient, which data parallelism would wait for
        self.conv_is_zero = apply_mask_in_forward and bool(mask.all())
        self.conv.weight.requires_grad_(not self.conv_is_zero)
        self.init_weights()

    @classmethod
    def from_dense(
        cls, weight: Tensor, groups: int = 1, parts: int = 4, **options: Any
    ) -> 'PSGConv2d':
        """A layer that starts from the kernel of a plain convolution.

        Args:
            weight: (C_out, C_in / G, 3, 3).
            groups: G.
            parts: P.
            **options: Other arguments of the layer.

        Returns:
            PSGConv2d: With ``mask_mode='paper'`` it has every number of
            ``weight`` once, at another dilation rate.
        """
        inputs = weight.shape[1] * groups
        layer = cls(
            inputs, len(weight), groups=groups, parts=parts, **options
        ).to(weight)
        for name, part in layer.split(weight).items():
            layer.get_submodule(name).weight.data.copy_(part)
        return layer

    def split(self, weight: Tensor) -> dict[str, Tensor]:
        """A plain kernel (C_out, C_in / G, 3, 3) as those of the layer.

        Returns:
            dict: Weights of ``conv``, ``gwconv`` and ``gwconv_shift``.

        Raises:
            ValueError: The kernel is of another shape.
        """
        if weight.shape != self.conv.weight.shape:
            raise ValueError(
                f'weight must be {tuple(self.conv.weight.shape)}, got '
                f'{tuple(weight.shape)}'
            )
        conv, own, opposite = split_dense(weight, self.groups, self.parts)
        mask = self.conv_mask.to(weight.device)
        return dict(
            conv=conv.masked_fill(mask, 0), gwconv=own, gwconv_shift=opposite
        )

    @torch.no_grad()
    def init_weights(self) -> None:
        """Set what is under the mask to zero."""
        if not self.conv.weight.is_meta:
            self.conv.weight.masked_fill_(self.conv_mask, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (B, C_in, H, W).

        Returns:
            Tensor: (B, C_out, ceil(H / stride), ceil(W / stride)).
        """
        dense = self.groups > 1 or not self.apply_mask_in_forward
        dense = dense and not self.conv_is_zero
        weight, bias = self.conv.weight, None
        if dense:
            hidden = 0.0 if self.apply_mask_in_forward else weight.detach()
            mask = self.conv_mask.to(weight.device)  # built on 'meta': CPU
            weight = torch.where(mask, hidden, weight)
        if self.conv.bias is not None:
            bias = self.conv.bias + self.gwconv.bias + self.gwconv_shift.bias
        return ps_conv2d(
            x,
            weight,
            self.gwconv.weight,
            self.gwconv_shift.weight,
            bias,
            self.stride,
            self.dilation[0],
            self.groups,
            self.parts,
            dense=dense,
        )

    def extra_repr(self) -> str:
        """What its convolutions don't show."""
        return f'parts={self.parts}, mask_mode={self.mask_mode!r}'

    def _save_to_state_dict(self, *args: Any) -> None:
        # mmengine doesn't reach a layer in a list of a head when it
        # initializes that head
        weight = self.conv.weight
        if self.apply_mask_in_forward and not weight.is_meta:
            mask = self.conv_mask.to(weight.device)
            if weight.masked_select(mask).any():
                self.init_weights()
        super()._save_to_state_dict(*args)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        key = f'{prefix}conv.weight'
        weight = state_dict.get(key)
        if (
            self.apply_mask_in_forward
            and weight is not None
            and weight.shape == self.conv.weight.shape
            and not weight.is_meta
        ):
            mask = self.conv_mask.to(weight.device)
            hidden = weight.masked_select(mask).abs()
            if hidden.any():
                print_log(
                    f'{key}: what is under the mask, up to '
                    f'{hidden.max():.3g}, is taken as zero; '
                    'apply_mask_in_forward=False keeps it, as the official '
                    'code does',
                    logger='current',
                    level=logging.WARNING,
                )
                state_dict[key] = weight.masked_fill(mask, 0)
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module('PSConv')
class PSConv2d(PSGConv2d):
    """Poly-scale convolution without groups, in place of a 3x3 convolution.

    Args:
        in_channels: C_in, a multiple of ``parts``.
        out_channels: C_out, a multiple of ``parts``.
        kernel_size: 3.
        stride: Of the convolution.
        padding: 1.
        dilation: Base rate d: the rates are 1, d, 1 and 2d.
        groups: 1.
        parts: Number of channel blocks P, even; 4 in the paper.
        bias: Whether each of the three kernels has a bias; they add up.
        apply_mask_in_forward: As in ``PSGConv2d``.
        base_rate: As in ``PSGConv2d``.

    Raises:
        ValueError: A size that does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 2,
        groups: int = 1,
        parts: int = 4,
        bias: bool = False,
        apply_mask_in_forward: bool = True,
        base_rate: int | None = None,
    ) -> None:
        if groups != 1:
            raise ValueError(
                f'groups of PSConv2d must be 1, got {groups}; PSGConv2d takes '
                'more'
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            parts=parts,
            bias=bias,
            apply_mask_in_forward=apply_mask_in_forward,
            base_rate=base_rate,
        )


def _check(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    padding: int | tuple[int, int],
    groups: int,
    parts: int,
) -> None:
    for name, value, expected in (
        ('kernel_size', kernel_size, 3),
        ('padding', padding, 1),
    ):
        if value not in (expected, (expected, expected)):
            raise ValueError(f'{name} must be {expected}, got {value}')
    if parts < 2 or parts % 2:
        raise ValueError(f'parts must be even, got {parts}')
    if groups < 1:
        raise ValueError(f'groups must be at least 1, got {groups}')
    for name, channels in (
        ('in_channels', in_channels),
        ('out_channels', out_channels),
    ):
        if channels < 1 or channels % (groups * parts):
            raise ValueError(
                f'{name} must be a multiple of groups * parts = '
                f'{groups * parts}, got {channels}'
            )
