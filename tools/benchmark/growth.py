"""Losses and prediction of dense heads as objects, priors and classes grow."""

import inspect
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from _harness import Case, main
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

import mmdet_assigners
from mmdet_assigners.catalog import read_catalog
from mmdet_assigners.small_scale import load_config

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
IMAGES = 1
# objects grow at the fewest priors, priors at AT_OBJECTS
OBJECTS = (1, 10, 100, 1000, 3000)
PRIORS = (5000, 24000, 84000)
AT_OBJECTS = 100
CLASSES = (80, 365, 1203)
PASSING = 0.001  # share of scores above the threshold in prediction


def pairs() -> Iterator[tuple[str, str, str]]:
    """Slug, config and baseline of methods with a dense head of their own.

    Heads without a prior generator, those of keypoint detectors, have
    ``keypoints.py``.
    """
    for method in read_catalog():
        model = method.models[0]
        baseline = (model.metadata or {}).get('Baseline')
        if baseline is None:
            continue
        cfg = load_config(model.name, mini=True)
        if 'roi_head' in cfg.model or 'bbox_head' not in cfg.model:
            continue
        cls = MODELS.get(cfg.model.bbox_head.type)
        own = cls is not None and cls.__module__.startswith('mmdet_assigners')
        if own and generator_of(build(model.name)) is not None:
            yield method.slug, model.name, baseline


def build(config: str, classes: int = 80) -> nn.Module:
    """The small head of a config."""
    cfg = load_config(config, mini=True, num_classes=classes)
    model = cfg.model
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            model.bbox_head,
            train_cfg=model.get('train_cfg'),
            test_cfg=model.get('test_cfg'),
        )
    )
    head.init_weights()
    return head.to(DEVICE).train()


def generator_of(head: nn.Module) -> Any:
    """Where the priors of a head come from; None without priors."""
    for name in ('prior_generator', 'square_anchor_generator'):
        if hasattr(head, name):
            return getattr(head, name)
    return None


def image_size(head: nn.Module, priors: int) -> tuple[int, int]:
    """Height and width of the smallest image with so many priors."""
    generator = generator_of(head)
    height = width = 0
    count = 0
    while count < priors:
        height, width = height + 32, width + 48
        cells = [
            -(-height // s) * -(-width // s) for s, _ in generator.strides
        ]
        bases = generator.num_base_priors
        count = sum(n * k for n, k in zip(cells, bases, strict=True))
    return height, width


def inputs(
    head: nn.Module, size: tuple[int, int], objects: int
) -> tuple[tuple, list[InstanceData], list[dict], tuple[Tensor, ...]]:
    """Outputs of a head for noise, ground truths, metas and the noise."""
    generator = torch.Generator().manual_seed(0)
    rand = partial(torch.rand, generator=generator)
    height, width = size
    strides = [s for s, _ in generator_of(head).strides]
    widths = head.in_channels
    if isinstance(widths, int):
        widths = [widths] * len(strides)
    feats = tuple(
        torch.randn(
            IMAGES, c, -(-height // s), -(-width // s), generator=generator
        ).to(DEVICE)
        for c, s in zip(widths, strides, strict=True)
    )
    with torch.no_grad():
        outs = head(feats)
    # sides from 8 pixels to half of the image, evenly in logarithm
    limits = torch.tensor([width, height], dtype=torch.float32)
    gts = []
    for _ in range(IMAGES):
        sides = 8 * (limits / 16) ** rand(objects, 2)
        corner = rand(objects, 2) * (limits - sides)
        gt = InstanceData(
            bboxes=torch.cat((corner, corner + sides), 1),
            labels=torch.randint(
                head.num_classes, (objects,), generator=generator
            ),
        )
        gts.append(gt.to(DEVICE))
    meta = dict(
        img_shape=size,
        pad_shape=size,
        batch_input_shape=size,
        scale_factor=(1.0, 1.0),
    )
    return outs, gts, [meta] * IMAGES, feats


def leaves(outs: Any) -> Any:
    """The same tensors, for gradients."""
    if isinstance(outs, Tensor):
        return outs.detach().requires_grad_()
    if isinstance(outs, list | tuple):
        return [leaves(out) for out in outs]
    return outs


def total(losses: Any) -> Tensor:
    """Sum of losses in dicts and lists."""
    if isinstance(losses, dict):
        losses = [v for k, v in losses.items() if 'loss' in k]
    if isinstance(losses, list | tuple):
        return sum(map(total, losses))
    return losses.sum()


def loss_step(
    head: nn.Module, size: tuple[int, int], objects: int
) -> Callable[[], None]:
    """Losses and their gradients, without the convolutions."""
    outs, gts, metas, feats = inputs(head, size, objects)
    named = dict(batch_gt_instances=gts, batch_img_metas=metas)
    if 'feats' in inspect.signature(head.loss_by_feat).parameters:
        named['feats'] = feats

    def work() -> None:
        # new leaves: some heads of mmdet change the lists
        total(head.loss_by_feat(*leaves(outs), **named)).backward()

    return work


def prediction(head: nn.Module, size: tuple[int, int]) -> Callable[[], None]:
    """Detections from outputs, some of whose scores pass."""
    outs, _, metas, _ = inputs(head, size, 1)
    head.eval()
    logits = outs[0]
    noise = torch.Generator(DEVICE).manual_seed(0)
    for level in logits:
        level.normal_(-8, 1, generator=noise)
        chosen = torch.rand(level.shape, generator=noise, device=DEVICE)
        level[chosen < PASSING] += 8

    def work() -> None:
        with torch.no_grad():
            head.predict_by_feat(*outs, batch_img_metas=metas)

    return work


def sizes() -> list[tuple[int, int]]:
    """Priors and objects, the smallest problems first."""
    grid = [(PRIORS[0], objects) for objects in OBJECTS]
    grid += [(priors, AT_OBJECTS) for priors in PRIORS[1:]]
    return sorted(grid, key=lambda size: size[0] * size[1])


def cases(quick: bool) -> Iterator[Case]:
    """All heads at the smallest size, then at the next; quick: a few."""
    mmdet_assigners.register_all_modules()
    logging.disable(logging.INFO)  # initializations
    found = list(pairs())[: 3 if quick else None]
    for classes in CLASSES[: 1 if quick else None]:
        for slug, config, baseline in found:
            ours, peer = build(config, classes), build(baseline, classes)
            size = image_size(peer, PRIORS[0])
            yield Case(
                f'{slug} predict P={PRIORS[0]} classes={classes} B={IMAGES}',
                baseline,
                prediction(ours, size),
                prediction(peer, size),
            )
    heads = {name: build(name) for pair in found for name in pair[1:]}
    for priors, objects in sizes()[: 2 if quick else None]:
        for slug, config, baseline in found:
            ours, peer = heads[config], heads[baseline]
            size = image_size(peer, priors)
            yield Case(
                f'{slug} loss P={priors} G={objects} B={IMAGES}',
                baseline,
                loss_step(ours, size, objects),
                loss_step(peer, size, objects),
            )


if __name__ == '__main__':
    main(cases, __doc__, quick_s=0.5)
