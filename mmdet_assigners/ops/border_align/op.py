"""BorderAlign as one operator: checks, choice of kernel, autograd, export."""

from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import _torch
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
    if implementation == 'auto' and torch.onnx.is_in_onnx_export():
        _check(input, boxes, pool_size, implementation)
        return border_align_grid(input, boxes, pool_size)
    grad = input.requires_grad and torch.is_grad_enabled()
    return _run(input, boxes, pool_size, implementation, grad)[0]


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
    return _run(input, boxes, pool_size, implementation, True)


def _run(
    input: Tensor,
    boxes: Tensor,
    pool_size: int,
    implementation: str,
    with_argmax: bool,
) -> tuple[Tensor, Tensor]:
    _check(input, boxes, pool_size, implementation)
    if implementation == 'reference':
        return border_align_reference(input, boxes, pool_size)
    return _forward_op(
        input, boxes.detach(), pool_size, with_argmax, implementation
    )


def _check(
    input: Tensor, boxes: Tensor, pool_size: int, implementation: str
) -> None:
    for name, value in (('input', input), ('boxes', boxes)):
        if not value.is_floating_point():
            raise TypeError(f'{name} must be floating, got {value.dtype}')
    shape = tuple(input.shape)
    if len(shape) != 4 or shape[1] % 4 or 0 in shape[1:]:
        raise ValueError(
            'input must have shape (B, 4C, H, W) with C, H, W > 0, got '
            f'{shape}'
        )
    if boxes.dim() != 3 or boxes.shape[0] != shape[0] or boxes.shape[2] != 4:
        raise ValueError(
            f'boxes must have shape (B, M, 4) with B = {shape[0]}, that of '
            f'the input, got {tuple(boxes.shape)}'
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
    with_argmax: bool,
    implementation: str,
) -> tuple[Tensor, Tensor]:
    kernels = _kernels(input, implementation)
    output, argmax = kernels.forward(input, boxes, pool_size, with_argmax)
    output = output.permute(0, 3, 1, 2)
    return output, argmax.permute(0, 3, 1, 2) if with_argmax else argmax


@_forward_op.register_fake
def _(
    input: Tensor, boxes: Tensor, pool_size: int, with_argmax: bool, _: str
) -> tuple[Tensor, Tensor]:
    shape = (*boxes.shape[:2], 4, input.shape[1] // 4)
    output = input.new_empty(shape).permute(0, 3, 1, 2)
    if not with_argmax:
        return output, input.new_empty(0, dtype=torch.uint8)
    argmax = input.new_empty(shape, dtype=torch.uint8)
    return output, argmax.permute(0, 3, 1, 2)


@torch.library.custom_op(
    'mmdet_assigners::border_align_backward', mutates_args=()
)
def _backward_op(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    pool_size: int,
    implementation: str,
) -> Tensor:
    kernels = _kernels(grad, implementation)
    grad, argmax = (t.permute(0, 2, 3, 1) for t in (grad, argmax))
    found = kernels.backward(grad, argmax, boxes, height, width, pool_size)
    return found.permute(0, 3, 1, 2)


@_backward_op.register_fake
def _(
    grad: Tensor, _: Tensor, boxes: Tensor, height: int, width: int, *__: Any
) -> Tensor:
    batch, channels = grad.shape[:2]
    shape = (batch, height, width, 4 * channels)
    return grad.new_empty(shape).permute(0, 3, 1, 2)


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    input, boxes, ctx.pool_size, ctx.with_argmax, ctx.implementation = inputs
    ctx.size = input.shape[-2:]
    ctx.save_for_backward(output[1], boxes)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
    if not ctx.with_argmax:
        raise RuntimeError(
            'border_align ran without a gradient for its input, which now '
            'needs one'
        )
    argmax, boxes = ctx.saved_tensors
    found = _backward_op(
        grad, argmax, boxes, *ctx.size, ctx.pool_size, ctx.implementation
    )
    return found, None, None, None, None


_forward_op.register_autograd(_backward, setup_context=_setup_context)
