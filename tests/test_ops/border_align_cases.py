"""Cases of BorderAlign and a brute force over boxes, samples, channels.

As a script it runs Triton's kernels over them, on CUDA if there is any, else
in Triton's interpreter (``TRITON_INTERPRET=1``).
"""

import math

import torch

from mmdet_assigners.ops.border_align import (
    border_align,
    border_align_argmax,
    border_align_levels,
    border_index,
)

CASES = {  # batch, channels, height, width, boxes, samples, kind of boxes
    'clamped': (1, 3, 5, 6, 30, 10, 'clamped'),
    'outside': (1, 2, 6, 4, 24, 5, 'any'),
    'inverted': (2, 1, 4, 4, 7, 3, 'inverted'),
    'points': (1, 2, 5, 3, 9, 4, 'points'),
    'one cell': (1, 5, 1, 1, 4, 10, 'any'),
    'corners': (2, 2, 3, 7, 21, 1, 'clamped'),
    'odd channels': (2, 7, 6, 5, 11, 10, 'any'),
    'many channels': (1, 130, 3, 3, 9, 2, 'any'),
    # programs of the gradient own 8 cells: ends far outside of several
    'large map': (1, 2, 19, 26, 40, 10, 'any'),
    'far outside': (1, 2, 12, 20, 30, 10, 'far'),
}
LEVELS = [(9, 21), (5, 11), (3, 6), (1, 3), (1, 1)]


def make_case(name):
    """Input (B, 4C, H, W) and boxes (B, M, 4), float32."""
    batch, channels, height, width, count, _, kind = CASES[name]
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    shape = (batch, 4 * channels, height, width)
    input = torch.randn(shape, generator=generator)
    side = torch.tensor([width, height] * 2)
    boxes = torch.rand(batch, count, 4, generator=generator)
    boxes = boxes * (side + 6) - 3
    if kind == 'far':  # one end on the map, the other a map away
        boxes[..., 2:] += side[2:] * torch.randint(
            -1, 2, (batch, count, 2), generator=generator
        )
    if kind == 'points':
        boxes[..., 2:] = boxes[..., :2]
    elif kind == 'inverted':
        low = torch.minimum(boxes[..., :2], boxes[..., 2:])
        high = torch.maximum(boxes[..., :2], boxes[..., 2:])
        boxes = torch.cat((high, low), -1)
    elif kind == 'clamped':
        boxes = torch.minimum(boxes.clamp(min=0), side - 1)
    return input, boxes


def bilinear(size, x, y):
    """(Cell, weight) pairs of a point, empty outside."""
    height, width = size
    if not (-1 <= x <= width and -1 <= y <= height):
        return []
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, top = math.floor(x), math.floor(y)
    right, low = min(left + 1, width - 1), min(top + 1, height - 1)
    dx, dy = x - left, y - top
    return [
        ((top, left), (1 - dy) * (1 - dx)),
        ((top, right), (1 - dy) * dx),
        ((low, left), dy * (1 - dx)),
        ((low, right), dy * dx),
    ]


def brute_force(input, boxes, pool_size, grad):
    """Output, arg-max and gradient of the input by loops, in float64."""
    batch, channels, *size = input.shape
    channels //= 4
    input = input.double()
    shape = (batch, channels, boxes.shape[1], 4)
    output = torch.zeros(shape, dtype=torch.float64)
    argmax = torch.zeros(shape, dtype=torch.uint8)
    found = torch.zeros_like(input)
    for b in range(batch):
        for m, (x1, y1, x2, y2) in enumerate(boxes[b].double().tolist()):
            w, h = (x2 - x1) / pool_size, (y2 - y1) / pool_size
            borders = [
                (x1, y1, w, 0),
                (x1, y1, 0, h),
                (x2, y2, -w, 0),
                (x2, y2, 0, -h),
            ]
            for e, (x, y, dx, dy) in enumerate(borders):
                points = [
                    bilinear(size, x + k * dx, y + k * dy)
                    for k in range(pool_size + 1)
                ]
                for c in range(channels):
                    plane = input[b, e * channels + c]
                    values = [
                        sum(plane[cell].item() * wt for cell, wt in point)
                        for point in points
                    ]
                    k = max(range(len(values)), key=values.__getitem__)
                    output[b, c, m, e], argmax[b, c, m, e] = values[k], k
                    for cell, wt in points[k]:
                        found[b, e * channels + c][cell] += (
                            wt * grad[b, c, m, e].item()
                        )
    return output, argmax, found


def check_case(name, implementation, device, dtype=torch.float32):
    """Compare an implementation with the brute force.

    In float64 values and arg-max; else values, and that the arg-max is one of
    those within rounding.
    """
    pool_size = CASES[name][5]
    input, boxes = make_case(name)
    input = input.to(dtype).float()
    generator = torch.Generator().manual_seed(1)
    shape = (len(input), input.shape[1] // 4, boxes.shape[1], 4)
    grad = torch.randn(shape, generator=generator)
    expected = brute_force(input, boxes, pool_size, grad)
    leaf = input.to(device, dtype).requires_grad_()
    output, argmax = border_align_argmax(
        leaf, boxes.to(device), pool_size, implementation=implementation
    )
    (found,) = torch.autograd.grad(output, leaf, grad.to(output))
    results = output.double(), argmax, found.double()
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for value, wanted in zip(results, expected, strict=True):
        torch.testing.assert_close(
            value.cpu(), wanted, rtol=tolerance, atol=tolerance
        )


def check_levels(implementation, device):
    """All levels in one call are the same as one call per level.

    Two inputs with the same boxes, of which the second is channels-first in
    memory, share an index.
    """
    generator = torch.Generator().manual_seed(0)
    kwargs = dict(implementation=implementation)
    maps = [
        [torch.randn(2, 4 * c, *size, generator=generator) for size in LEVELS]
        for c in (3, 5)
    ]
    boxes = [
        torch.rand(2, height * width, 4, generator=generator)
        * (torch.tensor([width, height] * 2) + 6)
        - 3
        for height, width in LEVELS
    ]
    boxes = [box.to(device) for box in boxes]
    every = torch.cat(boxes, 1)
    index = border_index(every, LEVELS, 4, **kwargs)
    for channels_first, feats in enumerate(maps):
        feats = [x.to(device).requires_grad_() for x in feats]
        cells = torch.cat([x.flatten(2) for x in feats], 2).mT
        if not channels_first:
            cells = cells.contiguous()
        found = border_align_levels(
            cells, every, LEVELS, 4, index=index, **kwargs
        )
        wanted = torch.cat(
            [
                border_align(x, box, 4, **kwargs)
                for x, box in zip(feats, boxes, strict=True)
            ],
            2,
        ).permute(0, 2, 3, 1)
        assert torch.equal(found, wanted)
        grad = torch.randn(found.shape, generator=generator).to(device)
        pairs = (torch.autograd.grad(y, feats, grad) for y in (found, wanted))
        for one, other in zip(*pairs, strict=True):
            torch.testing.assert_close(one, other)


def main():
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    for name in CASES:
        check_case(name, 'triton', device)
    check_levels('triton', device)
    print(f'{len(CASES)} cases and {len(LEVELS)} levels on {device}')


if __name__ == '__main__':
    main()
