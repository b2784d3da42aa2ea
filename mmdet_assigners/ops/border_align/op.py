"""BorderAlign as one operator: checks, choice of kernel, autograd, export."""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import _torch
from ._geometry import number_of_cells, split_levels
from ._grid import border_align_grid
from ._reference import border_align_reference

IMPLEMENTATIONS = ('auto', 'reference', 'torch', 'triton')
_TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def border_align(
    input: Tensor,
    boxes: Tensor,
    pool_size: int = 10,
    *,
    implementation: str = 'auto',
) -> Tensor:
    """Maximum of bilinear samples along each border of boxes.

    N + 1 samples, both ends included, lie at equal distances on each border,
    top and left from (x1, y1), bottom and right from (x2, y2). Border e reads
    channels e * C to (e + 1) * C of the input. The result is the maximum over
    the samples; its gradient goes to the first sample that attains it, none
    goes to the boxes.

    Coordinates are in cells and the center of a cell is a whole number. A
    sample further than one cell outside is 0, a nearer one is moved to the
    edge; so is 0 what has no finite position. Boxes may be inverted. Positions
    and sums are in float32 at least, whatever the dtype. NaN in a sampled
    feature makes the output NaN.

    On CUDA Triton's kernels run if Triton is installed and the input is of
    float32, float16 or bfloat16; else those of PyTorch. Both are fastest when
    the input is channels-last. The output is (B, M, 4, C) in memory, so
    ``permute(0, 3, 1, 2)``, the 4C channels of a map, is channels-last.
    Triton's gradient is the same in every run; that of PyTorch's kernels on
    CUDA is if ``torch.use_deterministic_algorithms`` asks for it. In
    ``torch.onnx.export`` the result is composed of ``grid_sample`` and maxima,
    which ONNX has.

    Paper: BorderDet: Border Feature for Dense Object Detection, ECCV 2020,
    arXiv 2007.11056. As the official code, N + 1 samples and not
    N; unlike it (and mmcv's ``BorderAlign``), positions are
    ``start + k * step`` and not a running sum.

    Args:
        input: (B, 4C, H, W) floating, channel groups top, left, bottom, right.
        boxes: (B, M, 4) floating, x1, y1, x2, y2 in cells.
        pool_size: Number N of intervals, 1 to 255; 10 in the paper.
        implementation: 'auto', 'reference' (the definition, float64 and
            gradcheck), 'torch' or 'triton'.

    Returns:
        Tensor: (B, C, M, 4), the last axis top, left, bottom, right, in the
        dtype of the input.

    Raises:
        TypeError: A tensor isn't floating, or ``pool_size`` isn't an integer.
        ValueError: A shape, a device, ``pool_size`` or ``implementation`` is
            not as said.
    """
    _check_map(input)
    sizes = [tuple(input.shape[-2:])]
    output = _run(
        input.flatten(2).mT, boxes, sizes, None, pool_size, implementation
    )[0]
    return output.permute(0, 3, 1, 2)


def border_align_levels(
    input: Tensor,
    boxes: Tensor,
    sizes: Sequence[Sequence[int]],
    pool_size: int = 10,
    *,
    index: Sequence[Tensor] = (),
    implementation: str = 'auto',
) -> Tensor:
    """`border_align` on all levels of a pyramid, with one box per cell.

    On a GPU one launch serves all levels, where calls per level would wait
    for the host.

    Args:
        input: (B, P, 4C) floating, the cells of the levels in turn, each
            row-major; P is the sum of H_l * W_l.
        boxes: (B, P, 4) floating, x1, y1, x2, y2 in cells of the level.
        sizes: H_l and W_l of each of the L levels.
        pool_size: As of `border_align`.
        index: What `border_index` returned for the same boxes, for several
            calls with a gradient; else each backward pass computes it.
        implementation: As of `border_align`.

    Returns:
        Tensor: (B, P, 4, C), the third axis top, left, bottom, right, in the
        dtype of the input.

    Raises:
        TypeError: As of `border_align`.
        ValueError: As of `border_align`, or the levels don't have P cells.
    """
    counts = [height * width for height, width in sizes]
    return _run(
        input, boxes, sizes, counts, pool_size, implementation, index=index
    )[0]


def border_index(
    boxes: Tensor,
    sizes: Sequence[Sequence[int]],
    pool_size: int = 10,
    *,
    implementation: str = 'auto',
) -> list[Tensor]:
    """The order of borders by lines, for calls that share their boxes.

    Args:
        boxes: (B, P, 4), as of `border_align_levels`.
        sizes: As of `border_align_levels`.
        pool_size: As of `border_align`.
        implementation: As of `border_align`.

    Returns:
        list: Three tensors for Triton's kernels; none for the others, which
        don't use them.
    """
    if _kernels(boxes, implementation) is _torch:
        return []
    flat = _integers(side for size in sizes for side in size)
    counts = _integers(height * width for height, width in sizes)
    return list(_index_op(boxes.detach(), pool_size, flat, counts))


def border_align_argmax(
    input: Tensor,
    boxes: Tensor,
    pool_size: int = 10,
    *,
    implementation: str = 'auto',
) -> tuple[Tensor, Tensor]:
    """`border_align` and the index of the sample that it took.

    Args: as of `border_align`.

    Returns:
        tuple: Output (B, C, M, 4) and arg-max (B, C, M, 4) uint8 in 0..N,
        counted from (x1, y1) for top and left, else from (x2, y2).
    """
    _check_map(input)
    sizes = [tuple(input.shape[-2:])]
    output, argmax = _run(
        input.flatten(2).mT,
        boxes,
        sizes,
        None,
        pool_size,
        implementation,
        with_argmax=True,
    )
    return output.permute(0, 3, 1, 2), argmax.permute(0, 3, 1, 2)


def _run(
    input: Tensor,
    boxes: Tensor,
    sizes: Sequence[Sequence[int]],
    counts: Sequence[int] | None,
    pool_size: int,
    implementation: str,
    index: Sequence[Tensor] = (),
    with_argmax: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Output (B, M, 4, C) and arg-max of cells (B, P, 4C).

    Without ``counts`` the boxes are those of one level; without
    ``with_argmax`` the arg-max is found if a gradient will need it.
    """
    _check(input, boxes, sizes, counts, pool_size, implementation)
    flat = _integers(side for size in sizes for side in size)
    counts = _integers([boxes.shape[1]] if counts is None else counts)
    align = None
    if implementation == 'auto' and torch.onnx.is_in_onnx_export():
        align = border_align_grid
    elif implementation == 'reference':
        align = border_align_reference
    if align is not None:
        levels = _split(input, boxes, flat, counts)
        parts = [align(*level, pool_size) for level in levels]
        output, argmax = (
            torch.cat(part, 2) for part in zip(*parts, strict=True)
        )
        return output.permute(0, 2, 3, 1), argmax.permute(0, 2, 3, 1)
    if with_argmax is None:
        with_argmax = input.requires_grad and torch.is_grad_enabled()
    return _forward_op(
        input,
        boxes.detach(),
        pool_size,
        flat,
        counts,
        list(index),
        with_argmax,
        implementation,
    )


def _integers(sizes: Iterable[int]) -> list[int]:
    """Sizes, which are tensors while a graph is traced."""
    return list(map(int, sizes) if torch.jit.is_tracing() else sizes)


def _split(
    input: Tensor, boxes: Tensor, sizes: Sequence[int], counts: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Map (B, 4C, H_l, W_l) and boxes (B, M_l, 4) of each level."""
    for height, width, cell, box, count in split_levels(sizes, counts):
        tokens = input[:, cell : cell + height * width]
        yield (
            tokens.mT.unflatten(2, (height, width)),
            boxes[:, box : box + count],
        )


def _check_map(input: Tensor) -> None:
    shape = tuple(input.shape)
    if len(shape) != 4 or shape[1] % 4 or 0 in shape[1:]:
        raise ValueError(
            'input must have shape (B, 4C, H, W) with C, H, W > 0, got '
            f'{shape}'
        )


def _check(
    input: Tensor,
    boxes: Tensor,
    sizes: Sequence[Sequence[int]],
    counts: Sequence[int] | None,
    pool_size: int,
    implementation: str,
) -> None:
    for name, value in (('input', input), ('boxes', boxes)):
        if not value.is_floating_point():
            raise TypeError(f'{name} must be floating, got {value.dtype}')
    shape = tuple(input.shape)
    cells = sum(height * width for height, width in sizes)
    if len(shape) != 3 or shape[1] != cells or shape[2] % 4 or 0 in shape[1:]:
        raise ValueError(
            f'input must have shape (B, {cells}, 4C) with C > 0, since the '
            f'levels have {cells} cells, got {shape}'
        )
    number = 'M' if counts is None else cells
    fits = boxes.dim() == 3 and boxes.shape[::2] == (shape[0], 4)
    if not fits or (counts is not None and boxes.shape[1] != cells):
        raise ValueError(
            f'boxes must have shape (B, {number}, 4) with B = {shape[0]}, '
            f'that of the input, got {tuple(boxes.shape)}'
        )
    if boxes.device != input.device:
        raise ValueError(
            f'boxes must be on {input.device}, the device of the input, got '
            f'{boxes.device}'
        )
    if not isinstance(pool_size, int) or isinstance(pool_size, bool):
        raise TypeError(f'pool_size must be an integer, got {pool_size!r}')
    if not 1 <= pool_size <= 255:
        raise ValueError(f'pool_size must be in 1..255, got {pool_size}')
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f'implementation must be one of {", ".join(IMPLEMENTATIONS)}, '
            f'got {implementation!r}'
        )


def _kernels(tensor: Tensor, implementation: str) -> ModuleType:
    """The module whose ``forward`` and ``backward`` are to run."""
    wanted = implementation == 'triton' or (
        implementation == 'auto'
        and tensor.is_cuda
        and tensor.dtype in _TRITON_DTYPES
    )
    if not wanted:
        return _torch
    try:
        kernels = import_module('._triton', __package__)
    except ImportError as error:
        if implementation == 'triton':
            raise ValueError(
                "implementation is 'triton' but Triton can't be imported: "
                f'{error}'
            ) from error
        return _torch
    if tensor.dtype not in _TRITON_DTYPES:
        raise ValueError(
            "implementation 'triton' takes float32, float16 and bfloat16, "
            f'got {tensor.dtype}'
        )
    return kernels


@torch.library.custom_op('mmdet_assigners::border_align', mutates_args=())
def _forward_op(
    input: Tensor,
    boxes: Tensor,
    pool_size: int,
    sizes: Sequence[int],
    counts: Sequence[int],
    index: Sequence[Tensor],
    with_argmax: bool,
    implementation: str,
) -> tuple[Tensor, Tensor]:
    kernels = _kernels(input, implementation)
    return kernels.forward(input, boxes, sizes, counts, pool_size, with_argmax)


@_forward_op.register_fake
def _(
    input: Tensor,
    boxes: Tensor,
    pool_size: int,
    sizes: Sequence[int],
    counts: Sequence[int],
    index: Sequence[Tensor],
    with_argmax: bool,
    implementation: str,
) -> tuple[Tensor, Tensor]:
    shape = (*boxes.shape[:2], 4, input.shape[2] // 4)
    argmax = input.new_empty(shape if with_argmax else 0, dtype=torch.uint8)
    return input.new_empty(shape), argmax


@torch.library.custom_op(
    'mmdet_assigners::border_align_backward', mutates_args=()
)
def _backward_op(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    pool_size: int,
    sizes: Sequence[int],
    counts: Sequence[int],
    index: Sequence[Tensor],
    implementation: str,
) -> Tensor:
    kernels = _kernels(grad, implementation)
    return kernels.backward(
        grad, argmax, boxes, sizes, counts, pool_size, index
    )


@_backward_op.register_fake
def _(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    pool_size: int,
    sizes: Any,
    *_: Any,
) -> Tensor:
    return grad.new_empty(
        len(grad), number_of_cells(sizes), 4 * grad.shape[-1]
    )


@torch.library.custom_op(
    'mmdet_assigners::border_align_index', mutates_args=()
)
def _index_op(
    boxes: Tensor, pool_size: int, sizes: Sequence[int], counts: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    from . import _triton

    return _triton.index(boxes, sizes, counts, pool_size)


@_index_op.register_fake
def _(
    boxes: Tensor, pool_size: int, sizes: Sequence[int], counts: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    batch, count, _ = boxes.shape
    lines = sum(
        max(size) + 1 for size in zip(sizes[::2], sizes[1::2], strict=True)
    )
    return (
        boxes.new_empty((4 * batch, count, 4), dtype=torch.float32),
        boxes.new_empty(4 * batch * count, dtype=torch.int64),
        boxes.new_empty(4 * batch * lines + 1, dtype=torch.int32),
    )


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    _, boxes, *ctx.sizes, index, ctx.with_argmax, ctx.implementation = inputs
    ctx.save_for_backward(output[1], boxes, *index)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
    if not ctx.with_argmax:
        raise RuntimeError(
            'border_align ran without a gradient for its input, which now '
            'needs one'
        )
    argmax, boxes, *index = ctx.saved_tensors
    found = _backward_op(
        grad, argmax, boxes, *ctx.sizes, index, ctx.implementation
    )
    return found, None, None, None, None, [None] * len(index), None, None


_forward_op.register_autograd(_backward, setup_context=_setup_context)
