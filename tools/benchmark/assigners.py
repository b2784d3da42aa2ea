"""Assigners against mmdet's ATSSAssigner: P priors, G objects, 2 images."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from _harness import Case, main
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

import mmdet_assigners
from mmdet_assigners.models.task_modules.assigners._base import AssignInputs
from mmdet_assigners.ops.anchor_points import anchor_points

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
IMAGES = 2
CLASSES = 80
STRIDES = (8, 16, 32, 64, 128)
# height and width of the image -> about 5 000, 20 000 and 80 000 priors
SIZES = {5: (400, 608), 20: (800, 1216), 80: (1600, 2432)}
OBJECTS = (10, 100, 1000)
SIMOTA_BYTES = 2**30  # it holds P x G x C floats

OURS = {
    'CenterInGTMaxIoUAssigner': {},
    'SSCAssigner': {},
    'BatchATSSAssigner': {},
    'TopkIoUAssigner': {},
    'TopNIoUAssigner': {},
    'HAMBoxAssigner': dict(
        pos_iou_thr=0.5, neg_iou_thr=0.4, online_iou_thr=0.6, topk=9
    ),
}
MMDET = {
    'MaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    'TaskAlignedAssigner': dict(topk=13),
    'SimOTAAssigner': {},
}


class Work:
    """Priors, objects and predictions of one size."""

    def __init__(self, height: int, width: int, objects: int) -> None:
        generator = torch.Generator().manual_seed(0)
        shapes = [(-(-height // s), -(-width // s)) for s in STRIDES]
        points = anchor_points(shapes, STRIDES)
        half = points.stride[:, None] * 4
        self.priors = torch.cat((points.xy - half, points.xy + half), -1)
        self.sizes = tuple(h * w for h, w in shapes)
        stride = points.stride[:, None].expand(-1, 2)
        self.cells = torch.cat((points.xy, stride), -1)
        size = torch.tensor([width, height], dtype=torch.float32)
        rand = partial(torch.rand, generator=generator)
        # sides from 8 pixels to half of the image, evenly in logarithm
        sides = 8 * (size / 16) ** rand(IMAGES, objects, 2)
        corner = rand(IMAGES, objects, 2) * (size - sides)
        self.boxes = torch.cat((corner, corner + sides), -1)
        self.labels = torch.randint(
            CLASSES, (IMAGES, objects), generator=generator
        )
        count = len(self.priors)
        self.scores = torch.randn(IMAGES, count, CLASSES, generator=generator)
        noise = torch.randn(IMAGES, count, 4, generator=generator)
        self.preds = self.priors + noise * half
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(DEVICE))

    def single(self, kind: str, options: dict) -> Callable[[], None]:
        """An assigner of mmdet, image by image."""
        assigner = TASK_UTILS.build(dict(type=f'mmdet.{kind}', **options))
        priors = self.cells if kind == 'SimOTAAssigner' else self.priors
        levels = (list(self.sizes),) if kind == 'ATSSAssigner' else ()

        def work() -> None:
            for b in range(IMAGES):
                pred = InstanceData(
                    priors=priors,
                    scores=self.scores[b].sigmoid(),
                    bboxes=self.preds[b],
                )
                gt = InstanceData(bboxes=self.boxes[b], labels=self.labels[b])
                assigner.assign(pred, *levels, gt)

        return work

    def batch(self, kind: str, options: dict) -> Callable[[], Any]:
        """An assigner of ours, both images at once."""
        assigner = TASK_UTILS.build(dict(type=kind, **options))
        inputs = AssignInputs(
            self.priors,
            self.boxes,
            self.labels,
            torch.ones_like(self.labels, dtype=torch.bool),
            self.sizes,
            None,
            self.scores,
            self.preds,
        )
        return lambda: assigner.assign_batch(inputs)


def cases(quick: bool) -> Iterator[Case]:
    """A row per assigner and size; quick: one small size."""
    mmdet_assigners.register_all_modules()
    for thousands, shape in SIZES.items():
        for objects in OBJECTS:
            if quick and (thousands, objects) != (5, 100):
                continue
            work = Work(*shape, objects)
            peer = work.single('ATSSAssigner', dict(topk=9))
            size = f'P={thousands}000 G={objects} B={IMAGES}'
            for kind, options in OURS.items():
                yield Case(
                    f'{kind} {size}',
                    'mmdet ATSSAssigner',
                    work.batch(kind, options),
                    peer,
                )
            held = 4 * len(work.priors) * objects * CLASSES
            for kind, options in MMDET.items():
                if kind == 'SimOTAAssigner' and held > SIMOTA_BYTES:
                    continue
                yield Case(
                    f'mmdet {kind} {size}',
                    'mmdet ATSSAssigner',
                    work.single(kind, options),
                    peer,
                )


if __name__ == '__main__':
    main(cases, __doc__)
