"""Variance voting, which is soft-NMS and more, against mmcv's soft-NMS.

Where there are few boxes, as in the first row, the fixed costs decide: a call
of mmcv's soft-NMS per class, so that scores are exact, takes nearly as long as
its one call with shifted classes, and the many small operations of the votes
as long again. The memory is PyTorch's; NumPy holds some tables of 2^16 numbers
beside it.
"""

from collections.abc import Iterator

import torch
from _harness import Case, main
from mmcv.ops import batched_nms
from torch import Tensor

from mmdet_assigners.ops.var_voting import var_voting

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# candidates and classes
SIZES = (
    (300, 20),
    (1_000, 80),
    (1_000, 1),
    (3_000, 1),
    (10_000, 80),
    (300_000, 1203),
)
NMS = dict(
    type='soft_nms', method='gaussian', iou_threshold=0.5, min_score=0.001
)


def candidates(count: int, classes: int) -> tuple[Tensor, ...]:
    """Twenty boxes around each object: boxes, scores, sigmas and labels."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    objects = max(1, count // 20)
    corner, size = 1000 * rand(objects, 2), 20 + 200 * rand(objects, 2)
    own = torch.randint(objects, (count,), generator=generator)
    noise = torch.randn(count, 4, generator=generator).clamp(-2, 2)
    boxes = torch.cat((corner, corner + size), 1)[own]
    boxes += 0.1 * noise * size.repeat(1, 2)[own]
    scores = 0.05 + 0.95 * rand(count) ** 3
    labels = torch.randint(classes, (objects,), generator=generator)[own]
    found = boxes, scores, 1 + 9 * rand(count, 4), labels
    return tuple(one.to(DEVICE) for one in found)


def cases(quick: bool) -> Iterator[Case]:
    """A row per size; quick: without the largest."""
    torch.set_num_threads(1)
    for count, classes in SIZES[:3] if quick else SIZES:
        boxes, scores, sigmas, labels = candidates(count, classes)

        def ours(data=(boxes, scores, sigmas, labels)) -> None:
            var_voting(*data)

        def peer(data=(boxes, scores, labels)) -> None:
            batched_nms(*data, dict(NMS))

        name = f'N={count}, {classes} classes'
        yield Case(name, 'mmcv soft-NMS, without votes', ours, peer)


if __name__ == '__main__':
    main(cases, __doc__)
