# mypy: disallow-untyped-defs=False
# (the compiler of Triton reads the annotations of its functions)
"""BorderAlign's kernels in Triton, forward by boxes, backward by cells.

One launch serves all levels, whose cells and boxes are concatenated. Maps are
channels-last, so the cells of a sample are contiguous vectors; a position is
computed once for all channels. The arg-max is one byte. Scattered atomic
additions would bound the gradient, so each program of it owns some cells and
gathers from the boxes whose borders pass them; its sums have one order.
"""

import triton
import triton.language as tl

SCAN = tl.constexpr(32)
"""Borders that it looks at together, a warp."""
VARYING = ['cells', 'count', 'lines']
"""Sizes of the maps: new ones must not compile a kernel anew."""
COLUMNS = tl.constexpr(9)
"""Of the table of levels: the first program of each of the three kernels, then
first cell, height, width, first box, number of boxes, first line."""
FORWARD = tl.constexpr(0)
INDEX = tl.constexpr(1)
BACKWARD = tl.constexpr(2)


@triton.jit
def _find_level(levels_ptr, kernel, levels: tl.constexpr):
    """Row of the table for this program, and its number among the level's."""
    program = tl.program_id(0)
    row = 0
    for i in tl.static_range(1, levels):
        first = tl.load(levels_ptr + i * COLUMNS + kernel)
        row += (program >= first).to(tl.int32)
    own = levels_ptr + row * COLUMNS
    return own, program - tl.load(own + kernel)


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


@triton.jit(do_not_specialize=VARYING)
def forward_kernel(
    input_ptr,
    boxes_ptr,
    output_ptr,
    argmax_ptr,
    levels_ptr,
    cells,
    count,
    channels,
    levels: tl.constexpr,
    pool_size: tl.constexpr,
    with_argmax: tl.constexpr,
    block_m: tl.constexpr,
    block_c: tl.constexpr,
):
    """Maximum over the samples of a block of boxes and channels."""
    own, block = _find_level(levels_ptr, FORWARD, levels)
    first_cell = tl.load(own + 3)
    height = tl.load(own + 4)
    width = tl.load(own + 5)
    border = tl.program_id(1) % 4
    image = tl.program_id(2).to(tl.int64)
    m = block * block_m + tl.arange(0, block_m)
    c = tl.program_id(1) // 4 * block_c + tl.arange(0, block_c)
    valid = m < tl.load(own + 7)
    known = (c < channels)[None, :]
    row = image * count + tl.load(own + 6) + m
    start, step, low, high, upper, inside, size = _line(
        boxes_ptr, row, valid, border, height, width, pool_size
    )
    stride = tl.where(border % 2 == 0, 1, width)
    line_stride = tl.where(border % 2 == 0, width, 1)
    low, high = low * line_stride, high * line_stride
    cell = 4 * channels
    first = (image * cells + first_cell) * cell + border * channels
    base = input_ptr + first + c[None, :]
    best = tl.full((block_m, block_c), float('-inf'), tl.float32)
    argmax = tl.zeros((block_m, block_c), tl.int32)
    for k in range(pool_size + 1):
        left, right, share, counts = _cells(start + k * step, size)
        counts &= inside
        left, right = left * stride, right * stride
        value = tl.zeros((block_m, block_c), tl.float32)
        weight = tl.where(counts, (1 - upper) * (1 - share), 0.0)
        value += _share(base, low + left, cell, weight, known)
        weight = tl.where(counts, (1 - upper) * share, 0.0)
        value += _share(base, low + right, cell, weight, known)
        weight = tl.where(counts, upper * (1 - share), 0.0)
        value += _share(base, high + left, cell, weight, known)
        weight = tl.where(counts, upper * share, 0.0)
        value += _share(base, high + right, cell, weight, known)
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
def _share(base, index, cell, weight, known):
    """What a cell gives; nothing without a weight, also if it is infinite."""
    offset = (index.to(tl.int64) * cell)[:, None]
    mask = (weight > 0)[:, None] & known
    value = tl.load(base + offset, mask=mask, other=0.0).to(tl.float32)
    return value * weight[:, None]


@triton.jit(do_not_specialize=VARYING)
def index_kernel(
    boxes_ptr,
    key_ptr,
    record_ptr,
    levels_ptr,
    count,
    lines,
    levels: tl.constexpr,
    pool_size: tl.constexpr,
    block_m: tl.constexpr,
):
    """Where borders lie: first line of cells, share of the second, samples.

    Lines of all levels, borders and images are numbered in turn, with one
    more per level for what lies outside of the map.
    """
    own, block = _find_level(levels_ptr, INDEX, levels)
    height = tl.load(own + 4)
    width = tl.load(own + 5)
    segment = tl.program_id(1)
    border = segment % 4
    m = block * block_m + tl.arange(0, block_m)
    valid = m < tl.load(own + 7)
    m += tl.load(own + 6)
    row = (segment // 4).to(tl.int64) * count + m
    start, step, low, _, upper, inside, _ = _line(
        boxes_ptr, row, valid, border, height, width, pool_size
    )
    at = segment.to(tl.int64) * count + m
    line = tl.where(inside, low, tl.maximum(height, width))
    key = segment * lines + tl.load(own + 8) + line
    tl.store(key_ptr + at, key, mask=valid)
    record = record_ptr + at * 4
    tl.store(record, start, mask=valid)
    tl.store(record + 1, step, mask=valid)
    tl.store(record + 2, low.to(tl.float32), mask=valid)
    tl.store(record + 3, upper, mask=valid)


@triton.jit(do_not_specialize=[*VARYING, 'channels'])
def backward_kernel(
    grad_ptr,
    argmax_ptr,
    record_ptr,
    order_ptr,
    first_ptr,
    found_ptr,
    levels_ptr,
    cells,
    count,
    channels,
    lines,
    levels: tl.constexpr,
    pool_size: tl.constexpr,
    block_x: tl.constexpr,
    block_c: tl.constexpr,
):
    """Sum of what borders give to neighboring cells of a line.

    With a number of channels of unknown factors, loads get the layout of the
    sums, channels 32 apart in a thread, and needn't be exchanged.
    """
    own, tile = _find_level(levels_ptr, BACKWARD, levels)
    first_cell = tl.load(own + 3)
    height = tl.load(own + 4)
    width = tl.load(own + 5)
    border = tl.program_id(1) % 4
    image = tl.program_id(2).to(tl.int64)
    segment = image * 4 + border
    c = tl.program_id(1) // 4 * block_c + tl.arange(0, block_c)
    tiles = (tl.maximum(height, width) + block_x - 1) // block_x
    line = tile // tiles
    corner = tile % tiles * block_x
    horizontal = border % 2 == 0
    size = tl.where(horizontal, width, height)
    if (line < tl.where(horizontal, height, width)) & (corner < size):
        # the borders whose first or second line is this one
        number = first_ptr + segment * lines + tl.load(own + 8) + line
        begin = tl.load(number - tl.where(line > 0, 1, 0))
        end = tl.load(number + 1)
        x = corner + tl.arange(0, block_x)
        total = tl.zeros((block_x, block_c), tl.float32)
        for at in range(begin, end, SCAN):
            i = at + tl.arange(0, SCAN)
            valid = i < end
            box = tl.load(order_ptr + i, mask=valid, other=0)
            start = tl.load(record_ptr + box * 4)
            step = tl.load(record_ptr + box * 4 + 1)
            low = tl.load(record_ptr + box * 4 + 2)
            upper = tl.load(record_ptr + box * 4 + 3)
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
        cell = image * cells + first_cell + line * line_stride + x * x_stride
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
def transpose_kernel(
    source_ptr, target_ptr, rows, columns, block: tl.constexpr
):
    """Matrices (B, rows, columns) to (B, columns, rows)."""
    image = tl.program_id(2).to(tl.int64) * rows * columns
    r = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    c = tl.program_id(1).to(tl.int64) * block + tl.arange(0, block)
    mask = (r < rows)[:, None] & (c < columns)[None, :]
    at = image + r[:, None] * columns + c[None, :]
    value = tl.load(source_ptr + at, mask=mask)
    at = image + c[:, None] * rows + r[None, :]
    tl.store(target_ptr + at, value.T, mask=mask.T)
