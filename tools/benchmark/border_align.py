"""BorderAlign against mmcv's op (CUDA), or a 3x3 convolution (CPU).

All levels P3 to P7 of an 800x1333 image, a box per cell. On CUDA a copy of
1 GiB comes first: its bandwidth is the ceiling for the rows after it. The
least bytes are those of input, output, boxes and one byte of arg-max, each
moved once, in the dtype of ours; a row in bfloat16 has mmcv's op in float32
as its peer.
"""

from collections.abc import Callable, Iterator

import torch
from _harness import Case, main
from torch import Tensor

from mmdet_assigners.ops.border_align import border_align

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SHAPES = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
POOL_SIZE = 10
Op = Callable[[Tensor, Tensor], Tensor]


class Work:
    """Maps (B, 4C, H, W), boxes (B, H W, 4) and gradients of all levels."""

    def __init__(
        self,
        batch: int,
        channels: int,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        shapes: tuple = SHAPES,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        layout = torch.contiguous_format
        if channels_last:
            layout = torch.channels_last
        self.boxes, self.maps, self.grads = [], [], []
        for height, width in shapes:
            cells = height * width
            self.boxes.append(_boxes(batch, height, width, generator))
            x = torch.randn(
                batch, 4 * channels, height, width, generator=generator
            )
            x = x.to(DEVICE, dtype).contiguous(memory_format=layout)
            self.maps.append(x)
            grad = torch.randn(1, 1, cells, 1, generator=generator)
            grad = grad.expand(batch, channels, -1, 4).to(DEVICE, dtype)
            self.grads.append(grad.contiguous())
        self.outputs = sum(grad.numel() for grad in self.grads)

    def least_bytes(self, backward: bool) -> int:
        """Input, output and boxes; then arg-max and both gradients."""
        size = self.maps[0].element_size()
        values = sum(x.numel() for x in self.maps)
        total = size * (values + self.outputs)
        total += sum(4 * boxes.numel() for boxes in self.boxes)
        if backward:
            total += 2 * self.outputs + size * (values + self.outputs)
        return total

    def run(self, op: Op, backward: bool) -> Callable[[], None]:
        """Apply an op to all levels."""
        maps = [x.detach().requires_grad_(backward) for x in self.maps]

        def work() -> None:
            for x, boxes, grad in zip(
                maps, self.boxes, self.grads, strict=True
            ):
                output = op(x, boxes)
                if backward:
                    torch.autograd.grad(output, x, grad)

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


def _ours(x: Tensor, boxes: Tensor) -> Tensor:
    return border_align(x, boxes, POOL_SIZE)


def _reference(x: Tensor, boxes: Tensor) -> Tensor:
    return border_align(x, boxes, POOL_SIZE, implementation='reference')


def _mmcv(x: Tensor, boxes: Tensor) -> Tensor:
    from mmcv.ops import border_align as theirs

    return theirs(x, boxes, POOL_SIZE)


def _check(ours: Op, peer: Op, work: Work) -> None:
    """Both compute the same on the last level.

    Raises:
        AssertionError: They don't.
    """
    args = work.maps[-1], work.boxes[-1]
    torch.testing.assert_close(ours(*args), peer(*args), rtol=1e-4, atol=1e-4)


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
    for batch in (2,) if quick else (2, 8):
        for channels in (256, 128):
            plain = Work(batch, channels)
            _check(_ours, _mmcv, plain)
            for last in (False, True):
                for dtype in (torch.float32, torch.bfloat16):
                    work = Work(batch, channels, dtype, last)
                    kind = f'{str(dtype)[6:]}{" channels-last" * last}'
                    for backward in (False, True):
                        yield Case(
                            f'forward{"+backward" * backward} P3-P7 800x1333 '
                            f'B={batch} C={channels} {kind}',
                            'mmcv.ops.border_align, float32',
                            work.run(_ours, backward),
                            plain.run(_mmcv, backward),
                            work.least_bytes(backward),
                            graph=True,
                        )


def _cpu_cases(quick: bool) -> Iterator[Case]:
    channels = 128
    work = Work(1, channels)
    _check(_ours, _reference, work)
    weight = torch.randn(channels, channels, 3, 3)
    narrow = [x[:, :channels].contiguous() for x in work.maps]

    def convolve() -> None:
        with torch.no_grad():
            for x in narrow:
                torch.conv2d(x, weight, padding=1)

    name = f'P3-P7 800x1333 B=1 C={channels}'
    yield Case(
        f'forward {name}',
        f'one 3x3 convolution of {channels} channels',
        work.run(_ours, False),
        convolve,
        work.least_bytes(False),
    )
    shapes = SHAPES[2:] if quick else SHAPES
    part = Work(1, channels, shapes=shapes)
    yield Case(
        f'forward+backward P{8 - len(shapes)}-P7 800x1333 B=1 C={channels}',
        'plain definition with autograd',
        part.run(_ours, True),
        part.run(_reference, True),
        part.least_bytes(True),
    )


def cases(quick: bool) -> Iterator[Case]:
    """CUDA: batch 2 and 8; quick: 2. CPU: quick goes back from P5 on."""
    return _gpu_cases(quick) if DEVICE == 'cuda' else _cpu_cases(quick)


if __name__ == '__main__':
    main(cases, __doc__.splitlines()[0])
