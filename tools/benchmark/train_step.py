"""A small-scale training step of each method against its baseline's."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from _harness import Case, main
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_assigners.small_scale import load_config

sys.path.append(str(Path(__file__).resolve().parent.parent / 'dev'))

from small_scale_page import compared_rows

HEIGHT, WIDTH, GTS = 240, 320, 13


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
    corner = torch.rand(batch, GTS, 2) * torch.tensor([240.0, 180.0])
    boxes = torch.cat((corner, corner + 20 + 40 * torch.rand_like(corner)), 2)
    if hasattr(model, 'rpn_head'):
        fix_proposals(model, boxes)
    samples = []
    for image in boxes:
        size = dict(img_shape=(HEIGHT, WIDTH), pad_shape=padded)
        size['batch_input_shape'] = padded
        sample = DetDataSample(metainfo=size)
        sample.gt_instances = InstanceData(
            bboxes=image, labels=torch.arange(GTS) % 3
        )
        samples.append(sample)

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
