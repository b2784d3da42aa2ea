"""What a GPU decides: the operators and whole training steps.

The rows of ``border_align.py``, ``ap_loss.py``, ``var_voting.py`` and
``deform_roi_pool.py``, the point assignment of ``growth.py`` and a training
step of the full models. ``--quick`` runs on a CPU, too.
"""

import logging
from collections.abc import Callable, Iterator

import ap_loss
import border_align
import deform_roi_pool
import growth
import torch
import var_voting
from _harness import Case, main
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from train_step import samples_of

from mmdet_assigners.small_scale import load_config

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
BORDERDET = 'borderdet_r50-caffe_fpn_1x_coco'
FCOS = (
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-'
    'giou_1x_coco.py'
)
SIZE, OBJECTS = (800, 1333), 7


def full_step(
    config: str, batch: int, half: bool, quick: bool
) -> Callable[[], None]:
    """Forward and backward of a model; quick: of the mini model."""
    cfg = load_config(config, mini=quick)
    cfg.model.backbone.pop('init_cfg', None)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(DEVICE).train()
    model.init_weights()
    height, width = SIZE
    padded = (-(-height // 32) * 32, -(-width // 32) * 32)
    inputs = torch.randn(batch, 3, *padded, device=DEVICE)
    samples = samples_of(batch, SIZE, padded, OBJECTS, 80)
    samples = [sample.to(DEVICE) for sample in samples]

    def work() -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
            losses, _ = model.parse_losses(model.loss(inputs, samples))
        losses.backward()
        model.zero_grad()

    return work


def steps(quick: bool) -> Iterator[Case]:
    """BorderDet beside the FCOS that it extends."""
    for half in (False,) if quick else (False, True):
        batch = 1 if quick else 2
        kind = 'bfloat16 autocast' if half else 'float32'
        yield Case(
            f'BorderDet train step B={batch} 800x1333 {kind}',
            FCOS,
            full_step(BORDERDET, batch, half, quick),
            full_step(FCOS, batch, half, quick),
        )


def point_losses(quick: bool) -> Iterator[Case]:
    """Losses of BorderDet, most of which are two assignments of points."""
    ours, peer = growth.build(BORDERDET), growth.build(FCOS)
    for priors, objects in ((5000, 10), (24000, 100), (24000, 1000)):
        if quick and priors > 5000:
            continue
        size = growth.image_size(peer, priors)
        yield Case(
            f'BorderDet loss P={priors} G={objects} B={growth.IMAGES}',
            FCOS,
            growth.loss_step(ours, size, objects),
            growth.loss_step(peer, size, objects),
        )


def cases(quick: bool) -> Iterator[Case]:
    """All rows; quick: small sizes."""
    register_all_modules()
    logging.disable(logging.INFO)  # initializations
    yield from border_align.cases(quick)
    yield from steps(quick)
    yield from point_losses(quick)
    for module in (var_voting, deform_roi_pool, ap_loss):
        yield from module.cases(quick)


if __name__ == '__main__':
    main(cases, __doc__.splitlines()[0], quick_s=0.1)
