# mypy: disallow-untyped-defs=False
# (the compiler of Triton reads the annotations of its functions)
"""BorderAlign in Triton: one program per boxes, border, block of channels.

Maps are channels-last, so the cells of a sample are contiguous vectors; a
position is computed once for all channels. The arg-max is one byte. Imported
only when it runs, because Triton is optional.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 1024
"""Elements of the output per program."""
MAX_BLOCK_C = 128
"""Channels per program at most; 512 bytes of float32."""
_SUM_BITS = 61


@triton.jit
def _cells(position, size):
    """The two cells of a coordinate, the share of the upper, if it counts."""
    limit = size.to(tl.float32)
    inside = (position >= -1.0) & (position <= limit)  # NaN is outside
    position = tl.where(inside, position, 0.0)
    position = tl.minimum(tl.maximum(position, 0.0), limit - 1.0)
    low = position.to(tl.int32)
    high = tl.minimum(low + 1, size - 1)
    return low, high, position - low.to(tl.float32), inside


@triton.jit
def _line(
    boxes_ptr,
    row,
    valid,
    border,
    height,
    width,
    pool_size: tl.constexpr,
):
    """Start, step and cells across of the borders of a block of boxes.

    x1, y1, x2, y2 are where borders 0 to 3 start along their own axis; the
    coordinate across is one bit away, the other end two.
    """
    own = boxes_ptr + row * 4
    start = tl.load(own + border, mask=valid, other=0.0)
    end = tl.load(own + (border ^ 2), mask=valid, other=0.0)
    across = tl.load(own + (border ^ 1), mask=valid, other=0.0)
    step = tl.div_rn(end - start, tl.full(start.shape, pool_size, tl.float32))
    horizontal = border % 2 == 0
    along_size = tl.where(horizontal, width, height)
    across_size = tl.where(horizontal, height, width)
    along_stride = tl.where(horizontal, 1, width)
    across_stride = tl.where(horizontal, width, 1)
    low, high, weight, inside = _cells(across, across_size)
    return (
        start,
        step,
        low * across_stride,
        high * across_stride,
        weight,
        inside,
        along_size,
        along_stride,
    )


@triton.jit
def _forward_kernel(
    input_ptr,
    boxes_ptr,
    output_ptr,
    argmax_ptr,
    count,
    channels,
    height,
    width,
    pool_size: tl.constexpr,
    with_argmax: tl.constexpr,
    block_m: tl.constexpr,
    block_c: tl.constexpr,
):
    border = tl.program_id(1) % 4
    image = tl.program_id(2).to(tl.int64)
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    c = tl.program_id(1) // 4 * block_c + tl.arange(0, block_c)
    valid = m < count
    known = (c < channels)[None, :]
    row = image * count + m
    start, step, low, high, upper, inside, size, stride = _line(
        boxes_ptr, row, valid, border, height, width, pool_size
    )
    cell = 4 * channels
    first = image * height * width * cell + border * channels
    base = input_ptr + first + c[None, :]
    best = tl.full((block_m, block_c), float('-inf'), tl.float32)
    argmax = tl.zeros((block_m, block_c), tl.int32)
    for k in range(pool_size + 1):
        left, right, share, counts = _cells(start + k * step, size)
        counts = (counts & inside)[:, None] & known
        left, right = left * stride, right * stride
        a = _load(base, low + left, cell, counts)
        b = _load(base, low + right, cell, counts)
        value = a * ((1 - upper) * (1 - share))[:, None]
        value += b * ((1 - upper) * share)[:, None]
        a = _load(base, high + left, cell, counts)
        b = _load(base, high + right, cell, counts)
        value += a * (upper * (1 - share))[:, None]
        value += b * (upper * share)[:, None]
        better = value > best
        if with_argmax:
            argmax = tl.where(better, k, argmax)
        # NaN wins, too: it should be seen
        best = tl.where(better | (value != value), value, best)
    at = (row * 4 + border)[:, None] * channels + c[None, :]
    mask = valid[:, None] & known
    tl.store(output_ptr + at, best.to(output_ptr.dtype.element_ty), mask=mask)
    if with_argmax:
        tl.store(argmax_ptr + at, argmax.to(tl.uint8), mask=mask)


@triton.jit
def _load(base, index, cell, mask):
    offset = (index.to(tl.int64) * cell)[:, None]
    return tl.load(base + offset, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _backward_kernel(
    grad_ptr,
    argmax_ptr,
    boxes_ptr,
    found_ptr,
    scale_ptr,
    count,
    channels,
    height,
    width,
    pool_size: tl.constexpr,
    fixed: tl.constexpr,
    block_m: tl.constexpr,
    block_c: tl.constexpr,
):
    border = tl.program_id(1) % 4
    image = tl.program_id(2).to(tl.int64)
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    c = tl.program_id(1) // 4 * block_c + tl.arange(0, block_c)
    valid = m < count
    mask = valid[:, None] & (c < channels)[None, :]
    row = image * count + m
    start, step, low, high, upper, inside, size, stride = _line(
        boxes_ptr, row, valid, border, height, width, pool_size
    )
    at = (row * 4 + border)[:, None] * channels + c[None, :]
    grad = tl.load(grad_ptr + at, mask=mask, other=0.0).to(tl.float32)
    k = tl.load(argmax_ptr + at, mask=mask, other=0).to(tl.float32)
    left, right, share, counts = _cells(
        start[:, None] + k * step[:, None], size
    )
    mask = mask & counts & inside[:, None]
    left, right = left * stride, right * stride
    low, high, upper = low[:, None], high[:, None], upper[:, None]
    scale = 1.0
    if fixed:
        scale = tl.load(scale_ptr)
    cell = 4 * channels
    first = image * height * width * cell + border * channels
    base = found_ptr + first + c[None, :]
    lower, before = 1 - upper, 1 - share
    _add(base, low + left, cell, lower * before, grad, scale, mask, fixed)
    _add(base, low + right, cell, lower * share, grad, scale, mask, fixed)
    _add(base, high + left, cell, upper * before, grad, scale, mask, fixed)
    _add(base, high + right, cell, upper * share, grad, scale, mask, fixed)


@triton.jit
def _add(base, index, cell, weight, grad, scale, mask, fixed: tl.constexpr):
    """Atomic addition where the weight isn't 0, so that inf stays alone."""
    pointer = base + index.to(tl.int64) * cell
    mask = mask & (weight != 0)
    share = weight * grad
    if fixed:
        share = (share.to(tl.float64) * scale).to(tl.int64)
    tl.atomic_add(pointer, share, mask=mask, sem='relaxed')


def forward(
    input: Tensor, boxes: Tensor, pool_size: int, with_argmax: bool
) -> tuple[Tensor, Tensor]:
    """The maximum over the samples and, if wanted, its index.

    Args:
        input: (B, 4C, H, W) of float32, float16 or bfloat16; copied unless
            it is channels-last.
        boxes: (B, M, 4) in cells.
        pool_size: Number N of intervals.
        with_argmax: Also find the arg-max.

    Returns:
        tuple: Output (B, M, 4, C) and arg-max of the same shape in uint8,
        empty (0,) without ``with_argmax``.
    """
    channels = input.shape[1] // 4
    shape = (*boxes.shape[:2], 4, channels)
    output = torch.empty(shape, dtype=input.dtype, device=input.device)
    argmax = output.new_empty(shape if with_argmax else 0, dtype=torch.uint8)
    if output.numel():
        maps = input.permute(0, 2, 3, 1).contiguous()
        grid, blocks = _grid(shape[0], shape[1], channels)
        with torch.cuda.device_of(input):
            _forward_kernel[grid](
                maps,
                boxes.float().contiguous(),
                output,
                argmax,
                boxes.shape[1],
                channels,
                *input.shape[-2:],
                pool_size,
                with_argmax,
                *blocks,
            )
    return output, argmax


def backward(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    pool_size: int,
    deterministic: bool,
) -> Tensor:
    """Gradient of the input.

    Contributions are added atomically, in float32 or, ``deterministic``, as
    64-bit integers in units of a power of two, whose sum doesn't depend on
    the order: the unit is so small that nothing is lost against float32 and
    so large that M times the largest gradient doesn't overflow. A gradient
    that isn't finite then makes everything NaN or infinite.

    Args:
        grad: (B, M, 4, C) gradient of the output.
        argmax: (B, M, 4, C) uint8.
        boxes: (B, M, 4) in cells.
        height: H of the input.
        width: W of the input.
        pool_size: Number N of intervals.
        deterministic: See above.

    Returns:
        Tensor: (B, H, W, 4C) in the dtype of ``grad``.
    """
    batch, count, _, channels = grad.shape
    dtype = torch.int64 if deterministic else torch.float32
    shape = (batch, height, width, 4 * channels)
    found = torch.zeros(shape, dtype=dtype, device=grad.device)
    if not grad.numel():
        return found.to(grad.dtype)
    largest = found  # not read
    if deterministic:
        largest = grad.abs().amax().double().clamp(min=1e-30)
        largest = (_SUM_BITS - (largest * count).log2()).floor().exp2()
    grid, blocks = _grid(batch, count, channels)
    with torch.cuda.device_of(grad):
        _backward_kernel[grid](
            grad.contiguous(),
            argmax.contiguous(),
            boxes.float().contiguous(),
            found,
            largest,
            count,
            channels,
            height,
            width,
            pool_size,
            deterministic,
            *blocks,
        )
    if deterministic:
        found = found.double() / largest
    return found.to(grad.dtype)


def _grid(
    batch: int, count: int, channels: int
) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Programs, and boxes and channels of each."""
    block_c = min(MAX_BLOCK_C, triton.next_power_of_2(channels))
    block_m = min(TILE // block_c, triton.next_power_of_2(count))
    grid = (
        triton.cdiv(count, block_m),
        4 * triton.cdiv(channels, block_c),
        batch,
    )
    return grid, (block_m, block_c)
