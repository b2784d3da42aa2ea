"""Bounded assigners of RPN and GA-RPN against mmdet's, image 800x1333."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from _harness import Case, main
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

import mmdet_assigners

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
HEIGHT, WIDTH = 800, 1333
STRIDES = [4, 8, 16, 32, 64]
OBJECTS = (1, 10, 100, 1000)
APPROX_OBJECTS = OBJECTS[:-1]  # mmdet holds several tensors of G x 800 000
RULES = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3)


def anchors(scales: list[float], ratios: list[float], factor: int) -> Tensor:
    """Anchors (P, 4) of all levels; the factor makes the strides larger."""
    generator = TASK_UTILS.build(
        dict(
            type='mmdet.AnchorGenerator',
            scales=scales,
            ratios=ratios,
            strides=[stride * factor for stride in STRIDES],
        )
    )
    sizes = [
        (-(-HEIGHT // s[1]), -(-WIDTH // s[0])) for s in generator.strides
    ]
    return torch.cat(generator.grid_priors(sizes, device=DEVICE))


def assign(
    kind: str, priors: InstanceData, gts: InstanceData
) -> Callable[[], None]:
    """One call of an assigner."""
    assigner = TASK_UTILS.build(dict(type=kind, **RULES))

    def work() -> None:
        assigner.assign(priors, gts)

    return work


def objects(count: int) -> InstanceData:
    """Sides from 8 pixels to half of the image, evenly in logarithm."""
    generator = torch.Generator().manual_seed(0)
    rand = partial(torch.rand, generator=generator)
    limits = torch.tensor([WIDTH, HEIGHT], dtype=torch.float32)
    sides = 8 * (limits / 16) ** rand(count, 2)
    corner = rand(count, 2) * (limits - sides)
    gts = InstanceData(
        bboxes=torch.cat((corner, corner + sides), 1),
        labels=torch.zeros(count, dtype=torch.long),
    )
    return gts.to(DEVICE)


def cases(quick: bool) -> Iterator[Case]:
    """RPN, then GA-RPN; quick: few objects on a small pyramid."""
    mmdet_assigners.register_all_modules()
    factor = 4 if quick else 1
    ratios = [0.5, 1.0, 2.0]
    squares = anchors([8], [1.0], factor)
    around = anchors([8 * 2 ** (i / 3) for i in range(3)], ratios, factor)
    work = {
        'MaxIoUAssigner': InstanceData(priors=anchors([8], ratios, factor)),
        'ApproxMaxIoUAssigner': InstanceData(
            priors=squares, approxs=around.view(len(squares), 9, 4)
        ),
    }
    for kind, priors in work.items():
        counts = OBJECTS if kind == 'MaxIoUAssigner' else APPROX_OBJECTS
        for count in counts[: 2 if quick else None]:
            gts = objects(count)
            yield Case(
                f'Bounded{kind} P={len(priors)} G={count}',
                f'mmdet {kind}',
                assign(f'Bounded{kind}', priors, gts),
                assign(f'mmdet.{kind}', priors, gts),
            )


if __name__ == '__main__':
    main(cases, __doc__)
