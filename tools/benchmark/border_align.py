"""BorderAlign against mmcv's op (CUDA), or a 3x3 convolution (CPU).

All levels P3 to P7 of an 800x1333 image, a box per cell. On CUDA the two
branches of BorderDet, 256 and 128 channels, which have the same boxes; a copy
of 1 GiB comes first: its bandwidth is the ceiling for the rows after it. The
least bytes are those of input, output, boxes and one byte of arg-max, each
moved once, in the dtype of ours; a row in bfloat16 has mmcv's op in float32
as its peer.
"""

from collections.abc import Callable, Iterator

import torch
from _harness import Case, main
from torch import Tensor

from mmdet_assigners.ops.border_align import (
    border_align,
    border_align_levels,
    border_index,
)

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SIZES = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
BRANCHES = (256, 128)
POOL_SIZE = 10


class Work:
    """Cells (B, P, 4C) and gradients of branches, boxes (B, P, 4)."""

    def __init__(
        self,
        batch: int,
        branches: tuple[int, ...] = BRANCHES,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        sizes: tuple[tuple[int, int], ...] = SIZES,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.sizes = sizes
        self.counts = [height * width for height, width in sizes]
        boxes = [_boxes(batch, *size, generator) for size in sizes]
        self.boxes = torch.cat(boxes, 1)
        self.cells, self.grads = [], []
        for channels in branches:
            shape = (batch, 4 * channels, sum(self.counts))
            x = torch.randn(shape, generator=generator).to(DEVICE, dtype)
            self.cells.append(x.mT.contiguous() if channels_last else x.mT)
            grad = torch.randn(shape[2], 1, 1, generator=generator)
            grad = grad.expand(batch, -1, 4, channels).to(DEVICE, dtype)
            self.grads.append(grad.contiguous())

    def least_bytes(self, backward: bool) -> int:
        """Input, output and boxes; then arg-max and both gradients."""
        size = self.cells[0].element_size()
        values = sum(x.numel() for x in self.cells)  # of input and output
        total = 2 * size * values + 4 * self.boxes.numel()
        if backward:
            total += 2 * values + 2 * size * values
        return total

    def ours(self, backward: bool) -> Callable[[], None]:
        """A call per branch; the branches share what they can."""
        cells = [x.detach().requires_grad_(backward) for x in self.cells]

        def work() -> None:
            index = []
            if backward:
                index = border_index(self.boxes, self.sizes, POOL_SIZE)
            for x, grad in zip(cells, self.grads, strict=True):
                output = border_align_levels(
                    x, self.boxes, self.sizes, POOL_SIZE, index=index
                )
                if backward:
                    torch.autograd.grad(output, x, grad)

        return work

    def by_level(
        self, op: Callable[[Tensor, Tensor], Tensor], backward: bool
    ) -> Callable[[], None]:
        """A call per branch and level of an op for one map."""
        boxes = self.boxes.split(self.counts, 1)
        work_of = []
        for x, grad in zip(self.cells, self.grads, strict=True):
            levels = zip(
                x.split(self.counts, 1),
                grad.permute(0, 3, 1, 2).split(self.counts, 2),
                boxes,
                self.sizes,
                strict=True,
            )
            for part, own, box, size in levels:
                one = part.detach().mT.unflatten(2, size).contiguous()
                one.requires_grad_(backward)
                work_of.append((one, box.contiguous(), own.contiguous()))

        def work() -> None:
            for one, box, own in work_of:
                output = op(one, box)
                if backward:
                    torch.autograd.grad(output, one, own)

        return work


def _boxes(
    batch: int, height: int, width: int, generator: torch.Generator
) -> Tensor:
    """Boxes round each cell, sides of 2 to 16 cells, clamped to the map."""
    y, x = torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing='ij'
    )
    middle = torch.stack((x, y), -1).view(1, -1, 2).float()
    half = 2 ** (3 * torch.rand(batch, len(middle[0]), 2, generator=generator))
    boxes = torch.cat((middle - half, middle + half), -1).clamp(min=0)
    last = boxes.new_tensor([width - 1, height - 1] * 2)
    return torch.minimum(boxes, last).to(DEVICE)


def _reference(x: Tensor, boxes: Tensor) -> Tensor:
    return border_align(x, boxes, POOL_SIZE, implementation='reference')


def _mmcv(x: Tensor, boxes: Tensor) -> Tensor:
    from mmcv.ops import border_align as theirs

    return theirs(x, boxes, POOL_SIZE)


def _check(peer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Both compute the same on the coarsest levels.

    Raises:
        AssertionError: They don't.
    """
    work = Work(1, (8,), sizes=SIZES[3:])
    (cells,) = work.cells
    found = border_align_levels(cells, work.boxes, work.sizes, POOL_SIZE)
    wanted = [
        peer(x.mT.unflatten(2, size).contiguous(), boxes.contiguous())
        for x, boxes, size in zip(
            cells.split(work.counts, 1),
            work.boxes.split(work.counts, 1),
            work.sizes,
            strict=True,
        )
    ]
    expected = torch.cat(wanted, 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def _copy() -> Case:
    source = torch.empty(2**28, device=DEVICE)
    target = torch.empty_like(source)
    return Case(
        'copy 1 GiB',
        'clone',
        lambda: target.copy_(source),
        source.clone,
        2 * 2**30,
    )


def _gpu_cases(quick: bool) -> Iterator[Case]:
    yield _copy()
    _check(_mmcv)
    for batch in (2,) if quick else (2, 8):
        plain = Work(batch)
        for last in (False, True):
            for dtype in (torch.float32, torch.bfloat16):
                work = Work(batch, BRANCHES, dtype, last)
                kind = f'{str(dtype)[6:]}{" channels-last" * last}'
                for backward in (False, True):
                    yield Case(
                        f'forward{"+backward" * backward} P3-P7 800x1333 '
                        f'B={batch} C=256 and 128 {kind}',
                        'mmcv.ops.border_align, float32',
                        work.ours(backward),
                        plain.by_level(_mmcv, backward),
                        work.least_bytes(backward),
                        graph=True,
                    )


def _cpu_cases(quick: bool) -> Iterator[Case]:
    channels = 128
    _check(_reference)
    work = Work(1, (channels,), channels_last=True)
    weight = torch.randn(channels, channels, 3, 3)
    narrow = [torch.randn(1, channels, *size) for size in SIZES]

    def convolve() -> None:
        with torch.no_grad():
            for x in narrow:
                torch.conv2d(x, weight, padding=1)

    name = f'P3-P7 800x1333 B=1 C={channels}'
    yield Case(
        f'forward {name}',
        f'one 3x3 convolution of {channels} channels',
        work.ours(False),
        convolve,
        work.least_bytes(False),
    )
    sizes = SIZES[2:] if quick else SIZES
    part = Work(1, (channels,), sizes=sizes)
    yield Case(
        f'forward+backward P{8 - len(sizes)}-P7 800x1333 B=1 C={channels}',
        'plain definition with autograd',
        part.ours(True),
        part.by_level(_reference, True),
        part.least_bytes(True),
    )


def cases(quick: bool) -> Iterator[Case]:
    """CUDA: batch 2 and 8; quick: 2. CPU: quick goes back from P5 on."""
    return _gpu_cases(quick) if DEVICE == 'cuda' else _cpu_cases(quick)


if __name__ == '__main__':
    main(cases, __doc__.splitlines()[0])
