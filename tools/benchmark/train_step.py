"""A small-scale training step of each method against its baseline's."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _harness import Case, main
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_assigners.small_scale import load_config

sys.path.append(str(Path(__file__).resolve().parent.parent / 'dev'))

from small_scale_page import compared_rows

HEIGHT, WIDTH, GTS = 240, 320, 13


def samples_of(
    batch: int,
    size: tuple[int, int],
    padded: tuple[int, int],
    objects: int,
    classes: int,
) -> list[DetDataSample]:
    """Images of a size with boxes of 20 to 60 pixels, which masks fill."""
    height, width = size
    corner = torch.rand(batch, objects, 2)
    corner *= torch.tensor([width - 80.0, height - 60.0])
    boxes = torch.cat((corner, corner + 20 + 40 * torch.rand_like(corner)), 2)
    samples = []
    for image in boxes:
        sample = DetDataSample(
            metainfo=dict(
                img_shape=size, pad_shape=padded, batch_input_shape=padded
            )
        )
        edges = image.int().tolist()
        masks = np.zeros((objects, height, width), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, edges, strict=True):
            mask[top:bottom, left:right] = 1
        sample.gt_instances = InstanceData(
            bboxes=image,
            labels=torch.arange(objects) % classes,
            masks=BitmapMasks(masks, height, width),
        )
        samples.append(sample)
    return samples


def fix_proposals(model: nn.Module, boxes: Tensor) -> None:
    """Let the second stage see the same proposals in every model and run.

    Their number, and the share of positives, decide what it costs, and those
    of an RPN with random weights depend on the weights.
    """
    count = model.train_cfg.rpn_proposal.max_per_img
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(GTS, (count,), generator=generator)
    moves = torch.randn(len(boxes), count, 4, generator=generator)
    proposals = boxes[:, index] + 10 * moves
    near, far = proposals.split(2, -1)
    far = torch.maximum(far, near + 1)
    fixed = [
        InstanceData(bboxes=own, scores=torch.ones(count))
        for own in torch.cat((near, far), -1)
    ]
    original = model.rpn_head.loss_and_predict

    def loss_and_predict(*args: Any, **kwargs: Any) -> tuple:
        losses, _ = original(*args, **kwargs)
        return losses, [one.clone() for one in fixed]

    model.rpn_head.loss_and_predict = loss_and_predict


def step(config: str, batch: int) -> Callable[[], None]:
    """Forward, backward and zeroing of a shrunk model on noise."""
    cfg = load_config(config, mini=True, num_classes=3)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    divisor = cfg.model.data_preprocessor.get('pad_size_divisor', 32)
    padded = tuple(-(-side // divisor) * divisor for side in (HEIGHT, WIDTH))
    inputs = torch.randn(batch, 3, *padded)
    samples = samples_of(batch, (HEIGHT, WIDTH), padded, GTS, 3)
    if hasattr(model, 'rpn_head'):
        boxes = torch.stack([one.gt_instances.bboxes for one in samples])
        fix_proposals(model, boxes)

    def work() -> None:
        losses, _ = model.parse_losses(model.loss(inputs, samples))
        losses.backward()
        model.zero_grad()

    return work


def cases(quick: bool) -> Iterator[Case]:
    """One row per method; with ``quick`` one image instead of four."""
    register_all_modules()
    batch = 1 if quick else 4
    for row in compared_rows():
        if row.baseline:
            size = f'B={batch} {WIDTH}x{HEIGHT} G={GTS}'
            yield Case(
                f'{row.label} train step {size}',
                row.baseline,
                step(row.config, batch),
                step(row.baseline, batch),
            )


if __name__ == '__main__':
    main(cases, __doc__, quick_s=0.5)  # many rows
