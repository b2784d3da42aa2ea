"""Deformable convolution: plain PyTorch, or mmcv's kernel on CUDA."""

import math

import torch
import torch.nn.functional as F
from mmcv.ops import deform_conv2d, modulated_deform_conv2d
from torch import Tensor


def deform_conv(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    deform_groups: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Deformable convolution, v1 or with a mask v2, on maps of any size.

    Tap k of the output cell o reads x at ``stride * o - padding + k +
    offset``, bilinearly with zeros outside, and 0 when a coordinate is not
    strictly between -1 and the size.

    Runs mmcv's kernel on CUDA and `deform_conv_reference` elsewhere, where
    it is several times faster, and in exported or compiled graphs.

    Papers: Deformable Convolutional Networks, ICCV 2017, arXiv 1703.06211,
    equation 2; Deformable ConvNets v2, CVPR 2019, arXiv 1811.11168, equation
    1.

    Args:
        x: Shape [B, C, H, W].
        offset: (dy, dx) of the taps in cells, taps row by row, shape
            [B, D 2 K K, H', W'].
        weight: Shape [C_out, C, K, K].
        stride: Stride in cells.
        padding: Zero padding in cells.
        deform_groups: Number D of channel groups with offsets of their
            own.
        mask: Factors of the taps, shape [B, D K K, H', W'].

    Returns:
        Shape [B, C_out, H', W'].
    """
    if x.is_cuda and not torch.compiler.is_compiling():
        run = _through_mmcv
    else:
        run = deform_conv_reference
    return run(x, offset, weight, stride, padding, deform_groups, mask)


def deform_conv_reference(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    deform_groups: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """`deform_conv` by ``grid_sample`` and one batched matrix product.

    Keeps the samples [B, C K K, H' W'] for the backward pass. They are taken
    in float32 at least: a half coordinate beyond 128 is 1/8 cell coarse.

    Args: as of `deform_conv`; returns [B, C_out, H', W'].
    """
    images, channels, *sizes = x.shape
    # each group of channels is an image of its own until the product
    batch = images * deform_groups
    x = x.reshape(batch, channels // deform_groups, *sizes)
    kernel = weight.shape[-1]
    outs = offset.shape[-2:]
    dtype = torch.promote_types(offset.dtype, torch.float32)
    offset = offset.to(dtype).reshape(batch, kernel, kernel, 2, *outs)
    grid = []  # y, then x: [B, K, K, H', W'], the map spans -1..1
    inside = offset.new_ones((), dtype=torch.bool)
    for axis, shape in ((0, (kernel, 1, -1, 1)), (1, (kernel, 1, -1))):
        cells = torch.arange(outs[axis], device=x.device, dtype=dtype)
        taps = torch.arange(kernel, device=x.device, dtype=dtype)
        base = taps[:, None] + cells * stride - padding
        at = base.view(shape) + offset[:, :, :, axis]
        inside = inside & (at > -1) & (at < sizes[axis])
        grid.append((2 * at + 1) / sizes[axis] - 1)
    # At whole numbers the slope is that of the cell to the right, as in the
    # kernels; rounding of the grid must not make it that of the left one.
    points = torch.stack(grid[::-1], -1) + 2 * torch.finfo(dtype).eps
    points = points.where(inside[..., None], points.new_tensor(-3.0))
    samples = F.grid_sample(
        x.to(dtype),
        points.flatten(1, 3),
        padding_mode='zeros',
        align_corners=False,
    ).to(weight.dtype)
    if mask is not None:
        samples = samples * mask.reshape(batch, 1, -1, outs[1])
    # [B, C, K K H', W'] -> [B, C K K, H' W']
    samples = samples.reshape(images, -1, outs[0] * outs[1])
    kernels = weight.flatten(1).expand(images, -1, -1)  # @ copies samples
    out = torch.bmm(kernels, samples)
    return out.view(images, -1, *outs)


def _through_mmcv(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    deform_groups: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """`deform_conv` by mmcv's kernel, which recomputes samples backwards.

    It refuses maps smaller than the weight. Zeros on the right and bottom
    change nothing, because samples outside are zero anyway; the results of
    the added rows and columns are cropped. Computes in float32 at least.

    Args: as of `deform_conv`; returns [B, C_out, H', W'].
    """
    kernel = weight.shape[-1]
    height, width = offset.shape[-2:]
    grow_h, grow_w = (max(kernel - size, 0) for size in x.shape[-2:])
    if grow_h or grow_w:
        x = F.pad(x, (0, grow_w, 0, grow_h))
        full_h, full_w = (
            (size + 2 * padding - kernel) // stride + 1
            for size in x.shape[-2:]
        )
        grow = (0, full_w - width, 0, full_h - height)
        offset = F.pad(offset, grow)
        mask = None if mask is None else F.pad(mask, grow)
    batch = len(x)
    # the kernel takes the images in chunks of equal size, 32 at most
    chunk = batch if batch <= 32 else math.gcd(batch, 32)
    dtype = torch.promote_types(offset.dtype, torch.float32)
    x, offset = x.to(dtype).contiguous(), offset.to(dtype).contiguous()
    weight = weight.to(dtype)
    if mask is not None:
        out = modulated_deform_conv2d(
            x,
            offset,
            mask.to(dtype).contiguous(),
            weight,
            None,  # bias
            stride,
            padding,
            1,  # dilation
            1,  # groups
            deform_groups,
        )
        return out[..., :height, :width]
    out = deform_conv2d(
        x,
        offset,
        weight,
        stride,
        padding,
        1,  # dilation
        1,  # groups
        deform_groups,
        False,
        chunk,
    )
    return out[..., :height, :width]
