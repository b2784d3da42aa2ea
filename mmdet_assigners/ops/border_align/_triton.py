# mypy: disallow-untyped-defs=False
# (the compiler of Triton reads the annotations of its functions)
"""BorderAlign in Triton, forward by boxes, backward by cells.

Maps are channels-last, so the cells of a sample are contiguous vectors; a
position is computed once for all channels. The arg-max is one byte. Scattered
atomic additions would bound the gradient, so each program of it owns some
cells and gathers from the boxes whose borders pass them; its sums have one
order. Imported only when it runs, because Triton is optional.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 512
"""Elements of the output per program."""
MAX_BLOCK_C = 128
"""Channels per program at most; 512 bytes of float32."""
BLOCK_X = 8
"""Neighboring cells per program of the gradient."""
SCAN = tl.constexpr(32)
"""Borders that it looks at together, a warp."""
TRANSPOSE = 32
"""Side of the tiles of a copy that moves the channels last."""
SIZES = ['count', 'height', 'width', 'lines', 'tiles']
"""Of a map: a new one must not compile a kernel anew."""


@triton.jit
def _position(coordinate, size):
    """A coordinate moved onto the map, and whether it counts."""
    limit = size.to(tl.float32)
    inside = (coordinate >= -1.0) & (coordinate <= limit)  # NaN is outside
    coordinate = tl.where(inside, coordinate, 0.0)
    return _clamp(coordinate, size), inside


@triton.jit
def _clamp(coordinate, size):
    """The nearest position on the map, also of a coordinate far outside."""
    last = size.to(tl.float32) - 1.0
    return tl.minimum(tl.maximum(coordinate, 0.0), last)


@triton.jit
def _cells(coordinate, size):
    """The two cells of a coordinate, the share of the upper, if it counts."""
    position, inside = _position(coordinate, size)
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
    low, high, upper, inside = _cells(across, across_size)
    return start, step, low, high, upper, inside, along_size


@triton.jit(do_not_specialize=SIZES)
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
    start, step, low, high, upper, inside, size = _line(
        boxes_ptr, row, valid, border, height, width, pool_size
    )
    stride = tl.where(border % 2 == 0, 1, width)
    line_stride = tl.where(border % 2 == 0, width, 1)
    low, high = low * line_stride, high * line_stride
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


@triton.jit(do_not_specialize=SIZES)
def _line_kernel(
    boxes_ptr,
    key_ptr,
    record_ptr,
    count,
    height,
    width,
    lines,
    pool_size: tl.constexpr,
    block_m: tl.constexpr,
):
    """Where borders lie: first line of cells, share of the second, samples.

    Lines of all borders and images are numbered in turn, with one more per
    border for what lies outside of the map.
    """
    segment = tl.program_id(1)
    border = segment % 4
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    valid = m < count
    row = (segment // 4).to(tl.int64) * count + m
    start, step, low, _, upper, inside, _ = _line(
        boxes_ptr, row, valid, border, height, width, pool_size
    )
    at = segment.to(tl.int64) * count + m
    key = segment * (lines + 1) + tl.where(inside, low, lines)
    tl.store(key_ptr + at, key, mask=valid)
    record = record_ptr + at * 4
    tl.store(record, start, mask=valid)
    tl.store(record + 1, step, mask=valid)
    tl.store(record + 2, low.to(tl.float32), mask=valid)
    tl.store(record + 3, upper, mask=valid)


@triton.jit(do_not_specialize=[*SIZES, 'channels'])
def _backward_kernel(
    grad_ptr,
    argmax_ptr,
    record_ptr,
    order_ptr,
    first_ptr,
    found_ptr,
    count,
    channels,
    height,
    width,
    lines,
    tiles,
    pool_size: tl.constexpr,
    block_x: tl.constexpr,
    block_c: tl.constexpr,
):
    """Sum of what borders give to neighboring cells of a line.

    With a number of channels of unknown factors, loads get the layout of the
    sums, channels 32 apart in a thread, and needn't be exchanged.
    """
    border = tl.program_id(1) % 4
    image = tl.program_id(2).to(tl.int64)
    segment = image * 4 + border
    c = tl.program_id(1) // 4 * block_c + tl.arange(0, block_c)
    line = tl.program_id(0) // tiles
    corner = tl.program_id(0) % tiles * block_x
    horizontal = border % 2 == 0
    size = tl.where(horizontal, width, height)
    if (line < tl.where(horizontal, height, width)) & (corner < size):
        # the borders whose first or second line is this one
        number = first_ptr + segment * (lines + 1) + line
        begin = tl.load(number - tl.where(line > 0, 1, 0))
        end = tl.load(number + 1)
        x = corner + tl.arange(0, block_x)
        total = tl.zeros((block_x, block_c), tl.float32)
        for at in range(begin, end, SCAN):
            i = at + tl.arange(0, SCAN)
            valid = i < end
            own = tl.load(order_ptr + i, mask=valid, other=0)
            start = tl.load(record_ptr + own * 4)
            step = tl.load(record_ptr + own * 4 + 1)
            low = tl.load(record_ptr + own * 4 + 2)
            upper = tl.load(record_ptr + own * 4 + 3)
            # samples that count lie between the first and the last, which
            # may be far outside
            head = _clamp(start, size)
            tail = _clamp(start + pool_size * step, size)
            touches = valid & ((low == line) | (upper > 0))
            touches &= tl.maximum(head, tail) > corner - 1
            touches &= tl.minimum(head, tail) < corner + block_x
            chosen = tl.min(tl.where(touches, i, end))
            while chosen < end:
                total = _gather(
                    total,
                    grad_ptr,
                    argmax_ptr,
                    record_ptr,
                    tl.load(order_ptr + chosen),
                    (image - segment) * count,
                    border,
                    line,
                    x.to(tl.float32),
                    c,
                    channels,
                    size,
                )
                later = touches & (i > chosen)
                chosen = tl.min(tl.where(later, i, end))
        x_stride = tl.where(horizontal, 1, width)
        line_stride = tl.where(horizontal, width, 1)
        cell = image * height * width + line * line_stride + x * x_stride
        at = cell[:, None] * (4 * channels) + border * channels + c[None, :]
        mask = (x < size)[:, None] & (c < channels)[None, :]
        value = total.to(found_ptr.dtype.element_ty)
        tl.store(found_ptr + at, value, mask=mask)


@triton.jit
def _gather(
    total,
    grad_ptr,
    argmax_ptr,
    record_ptr,
    own,
    shift,
    border,
    line,
    x,
    c,
    channels,
    size,
):
    """Add what a border gives to cells ``x`` of one of its two lines."""
    known = c < channels
    at = ((own + shift) * 4 + border) * channels + c
    grad = tl.load(grad_ptr + at, mask=known, other=0.0).to(tl.float32)
    k = tl.load(argmax_ptr + at, mask=known, other=0).to(tl.float32)
    start = tl.load(record_ptr + own * 4)
    step = tl.load(record_ptr + own * 4 + 1)
    low = tl.load(record_ptr + own * 4 + 2)
    upper = tl.load(record_ptr + own * 4 + 3)
    across = tl.where(low == line, 1 - upper, upper)
    position, counts = _position(start + k * step, size)
    weight = 1 - tl.abs(position[None, :] - x[:, None])
    share = tl.maximum(weight, 0.0) * tl.where(counts, across, 0.0)[None, :]
    # a cell without a share gets nothing, however large the gradient
    return total + tl.where(share > 0, share * grad[None, :], 0.0)


@triton.jit(do_not_specialize=['columns'])
def _transpose_kernel(
    source_ptr, target_ptr, rows, columns, block: tl.constexpr
):
    image = tl.program_id(2).to(tl.int64) * rows * columns
    r = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    c = tl.program_id(1).to(tl.int64) * block + tl.arange(0, block)
    mask = (r < rows)[:, None] & (c < columns)[None, :]
    at = image + r[:, None] * columns + c[None, :]
    value = tl.load(source_ptr + at, mask=mask)
    at = image + c[:, None] * rows + r[None, :]
    tl.store(target_ptr + at, value.T, mask=mask.T)


def _contiguous(x: Tensor) -> Tensor:
    """``x.contiguous()`` of (B, ..., C), faster if the channels come first."""
    first = x.movedim(-1, 1)
    if x.is_contiguous() or not first.is_contiguous():
        return x.contiguous()
    target = torch.empty_like(x, memory_format=torch.contiguous_format)
    if x.numel():
        batch, channels = first.shape[:2]
        cells = first[0, 0].numel()
        grid = (
            triton.cdiv(channels, TRANSPOSE),
            triton.cdiv(cells, TRANSPOSE),
            batch,
        )
        with torch.cuda.device_of(x):
            _transpose_kernel[grid](first, target, channels, cells, TRANSPOSE)
    return target


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
        maps = _contiguous(input.permute(0, 2, 3, 1))
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
                num_warps=input.element_size() // 2,
            )
    return output, argmax


def backward(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    pool_size: int,
) -> Tensor:
    """Gradient of the input, the same in every run.

    Borders are sorted by the first line of cells that they touch; a cell then
    finds those that may reach it next to each other.

    Args:
        grad: (B, M, 4, C) gradient of the output.
        argmax: (B, M, 4, C) uint8.
        boxes: (B, M, 4) in cells.
        height: H of the input.
        width: W of the input.
        pool_size: Number N of intervals.

    Returns:
        Tensor: (B, H, W, 4C) in the dtype of ``grad``.
    """
    batch, count, _, channels = grad.shape
    shape = (batch, height, width, 4 * channels)
    if not grad.numel():
        return grad.new_zeros(shape)
    found = grad.new_empty(shape)
    lines = max(height, width)
    segments = batch * 4
    key = argmax.new_empty((segments, count), dtype=torch.int32)
    record = argmax.new_empty((segments, count, 4), dtype=torch.float32)
    numbers = torch.arange(
        segments * (lines + 1) + 1, dtype=torch.int32, device=grad.device
    )
    block_c = min(MAX_BLOCK_C, triton.next_power_of_2(channels))
    tiles = triton.cdiv(lines, BLOCK_X)
    grid = (lines * tiles, 4 * triton.cdiv(channels, block_c), batch)
    with torch.cuda.device_of(grad):
        _line_kernel[(triton.cdiv(count, TILE), segments)](
            boxes.float().contiguous(),
            key,
            record,
            count,
            height,
            width,
            lines,
            pool_size,
            TILE,
        )
        key, order = key.flatten().sort(stable=True)
        _backward_kernel[grid](
            _contiguous(grad),
            _contiguous(argmax),
            record,
            order,
            torch.searchsorted(key, numbers, out_int32=True),
            found,
            count,
            channels,
            height,
            width,
            lines,
            tiles,
            pool_size,
            BLOCK_X,
            block_c,
            num_warps=1,
        )
    return found


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
