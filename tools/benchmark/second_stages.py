"""Second stages against their baselines, small scale: step and prediction."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from _harness import Case, main
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.structures import InstanceData
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.small_scale import load_config

HEIGHT, WIDTH, GTS = 256, 320, 13
FASTER = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
PAIRS = (
    ('TSD', 'tsd_faster-rcnn_r50_fpn_14e_coco', FASTER),
    ('D2Det', 'd2det_r50_fpn_2x_coco', FASTER),
    ('Double-Head-Ext', 'double-head-ext_faster-rcnn_r50_fpn_1x_coco', FASTER),
    (
        'Double-Head-Ext',
        'double-head-ext_faster-rcnn_r50_fpn_1x_coco',
        'mmdet::double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py',
    ),
    (
        'PBM',
        'pbm_faster-rcnn_r50_fpn_30e_crowdhuman',
        'pbm-baseline_faster-rcnn_r50_fpn_30e_crowdhuman',
    ),
)


def works(config: str, batch: int) -> dict[str, Callable[[], Any]]:
    """Training step and prediction of a shrunk model on noise.

    The head scores by chance, so that a prediction keeps as many boxes as it
    may.
    """
    cfg = load_config(config, mini=True, num_classes=3)
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    inputs = torch.randn(batch, 3, HEIGHT, WIDTH)
    corner = torch.rand(batch, GTS, 2) * torch.tensor([240.0, 180.0])
    boxes = torch.cat((corner, corner + 20 + 40 * torch.rand_like(corner)), 2)
    size = (HEIGHT, WIDTH)
    shapes = dict.fromkeys(
        ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), size
    )
    samples = []
    for image in boxes:
        sample = DetDataSample(metainfo=dict(shapes, scale_factor=(1.0, 1.0)))
        # the upper half is visible, for pairs
        half = image[:, [1, 3]].mean(1, keepdim=True)
        sample.gt_instances = InstanceData(
            bboxes=image,
            visible_bboxes=torch.cat((image[:, :3], half), 1),
            labels=torch.arange(GTS) % 3,
        )
        samples.append(sample)

    def step() -> None:
        model.train()
        losses, _ = model.parse_losses(model.loss(inputs, samples))
        losses.backward()
        model.zero_grad()

    @torch.no_grad()
    def predict() -> None:
        model.eval()
        model.predict(inputs, samples)

    return {'train step': step, 'predict': predict}


def multiply_adds(work: Callable[[], Any]) -> int:
    """Of convolutions and matrix products, in the backward pass, too."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2


def cases(quick: bool) -> Iterator[Case]:
    """Two rows per pair; with ``quick`` one image instead of two."""
    logging.disable(logging.INFO)  # of the initialization
    register_all_modules()
    batch = 1 if quick else 2
    for label, config, baseline in PAIRS:
        ours, peer = works(config, batch), works(baseline, batch)
        for name, work in ours.items():
            factor = multiply_adds(work) / multiply_adds(peer[name])
            yield Case(
                f'{label} {name} B={batch} {WIDTH}x{HEIGHT}, '
                f'{factor:.2f} times the multiply-adds',
                baseline,
                work,
                peer[name],
            )


if __name__ == '__main__':
    main(cases, __doc__, quick_s=2)
