"""Golden ops of Gaussian YOLOv3."""

import torch
from golden_runner import adapter
from mmdet.models.task_modules.coders import YOLOBBoxCoder
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from mmdet_assigners.methods.gaussian_yolov3 import functional as ops
from mmdet_assigners.ops.anchor_match import IGNORED, gather_gts
from mmdet_assigners.ops.anchor_points import pad_gts
from mmdet_assigners.ops.yolo_match import (
    YOLOGrid,
    darknet_match,
)


def level(case):
    """Priors (P, 4) of the level, cell-major, and its grid."""
    *_, height, width = case['raw'].shape
    mask, wh = case['mask'], case['anchors'].detach()
    stride = float(case.params['stride'])
    own = torch.zeros(len(wh), dtype=torch.bool).index_fill(0, mask, True)
    slot = torch.zeros(len(wh), dtype=torch.long)
    slot[mask] = torch.arange(len(mask))
    size = torch.tensor([width, height])
    grid = YOLOGrid(
        wh,
        wh.new_full((len(wh),), stride),
        size * own[:, None],
        torch.zeros_like(slot),
        torch.full_like(slot, len(mask)),
        slot,
    )
    ys, xs = torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing='ij'
    )
    center = (torch.stack([xs, ys], -1).to(wh) + 0.5) * stride
    center = center.view(-1, 1, 2)
    half = wh[mask] / 2
    priors = torch.cat([center - half, center + half], -1).view(-1, 4)
    return priors, grid, stride * size


def flat(maps):
    """(B, A, channels, H, W) as (B, P, channels)."""
    return maps.permute(0, 3, 4, 1, 2).flatten(1, 3)


def unflat(values, like):
    batch, anchors, channels, height, width = like.shape
    values = values.view(batch, height, width, anchors, channels)
    return values.permute(0, 3, 4, 1, 2)


@adapter('gaussian_yolov3.layer')
def layer(case):
    p, raw = case.params, case['raw'].requires_grad_()
    priors, grid, size = level(case)
    out = ops.split_outputs(flat(raw), straight_through=True)
    coder = YOLOBBoxCoder(eps=1e-16)
    decoded = coder.decode(priors, out.mu.detach(), p['stride'])
    truths = case['truth'].split(case['num_truth'].tolist())
    # the C code finds cells in single precision: on a border that decides
    cells = torch.tensor(raw.shape[:-3:-1], dtype=torch.float)
    centers = [(t[:, :2].float() * cells).to(t) * p['stride'] for t in truths]
    halves = [t[:, 2:4] * size.to(t) / 2 for t in truths]
    boxes, labels, mask = pad_gts(
        [
            torch.cat([center - half, center + half], 1)
            for center, half in zip(centers, halves, strict=True)
        ],
        [t[:, 4].long() for t in truths],
    )
    match = darknet_match(
        grid, boxes, labels, mask, decoded, p['ignore_thr'], p['num_classes']
    )
    positive = match.gt >= 0
    matched = gather_gts(boxes, match.gt).where(positive[..., None], priors)
    every = priors.expand_as(matched)
    target = coder.encode(
        every.flatten(0, 1), matched.flatten(0, 1), p['stride']
    )
    areas = (matched[..., 2:] - matched[..., :2]).prod(-1)
    omega = (2 - areas / float(size.prod())) * positive
    nll = ops.box_nll(
        out.mu,
        out.sigma,
        target.view(matched.shape),
        omega,
        p['sigma_const'],
        p['eps'],
    )
    objectness = (
        bce(out.objectness, positive.to(raw), (match.gt != IGNORED).to(raw))
        * match.gt.numel()
    )
    classes = (
        bce(out.cls, match.class_targets, positive[..., None].to(raw))
        * match.class_targets.numel()
    )
    (nll.sum() + objectness + classes).backward()
    activated = torch.cat(
        [
            torch.stack([out.mu, out.sigma], -1).flatten(-2),
            out.objectness.sigmoid()[..., None],
            out.cls.sigmoid(),
        ],
        -1,
    )
    return {
        'activated': unflat(activated, raw),
        'grad_raw_official': raw.grad,
    }


@adapter('gaussian_yolov3.box_nll')
def box_nll(case):
    p = case.params
    loss = ops.box_nll(
        case['mu'],
        case['sigma'],
        case['target'],
        case['scale'],
        p['sigma_const'],
        p['eps'],
    )
    return case.results({'loss': loss, 'loss_sum': loss.sum()}, loss.sum())


@adapter('gaussian_yolov3.decode')
def decode(case):
    p = case.params
    priors, _, _ = level(case)
    out = ops.split_outputs(flat(case['raw'])[0])
    boxes = YOLOBBoxCoder().decode(priors, out.mu, p['stride'])
    objectness = out.objectness.sigmoid()
    factor = objectness * ops.certainty(out.sigma)
    scores = out.cls.sigmoid() * factor[:, None]
    keep = objectness > p['obj_thr']
    return {
        'boxes': boxes[keep],
        'objectness': objectness[keep],
        'scores': scores.masked_fill(scores <= p['score_thr'], 0)[keep],
    }
