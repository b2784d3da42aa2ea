"""Golden ops of MAL."""

import math

import torch
from golden_runner import adapter
from mmengine.registry import init_default_scope

from mmdet_assigners.methods.mal import functional as mal
from mmdet_assigners.methods.mal.head import MALRetinaHead
from mmdet_assigners.models.dense_heads.flat_head import FlatBatch
from mmdet_assigners.ops.anchor_points import flatten_levels, pad_rows
from mmdet_assigners.ops.cross_entropy import log_loss


@adapter('mal.schedule')
def schedule(case):
    rows = [
        [
            mal.depression_ratio(kind, t, case.params['max_iteration'])
            for t in case['iterations'].tolist()
        ]
        for kind in range(mal.NUM_SCHEDULES)
    ]
    return {'ratio': torch.tensor(rows, dtype=torch.float64)}


@adapter('mal.feature_mask')
def feature_mask(case):
    p = case.params
    outputs = {}
    for level, feat in enumerate(case.levels('feat')):
        kept = mal.kept_positions(feat, p['ratio'], p['mask_variant'])
        outputs[f'mask{level}'] = kept.double()
        outputs[f'cam{level}'] = mal.activation_map(feat)
        outputs[f'mixed{level}'] = mal.depress(feat, kept)
    return outputs


def anchor_generator(num_anchors):
    return dict(
        type='AnchorGenerator',
        ratios=[1.0],
        octave_base_scale=4,
        scales_per_octave=num_anchors,
        strides=[8],
    )


@adapter('mal.head')
def head(case):
    p = case.params
    feats = case.levels('feat')
    width = case.weights['cls_logits.weight'].shape[1]
    init_default_scope('mmdet')
    module = MALRetinaHead(
        p['num_classes'],
        feats[0].shape[1],
        p['stacked_convs'],
        feat_channels=width,
        anchor_generator=anchor_generator(p['num_anchors']),
    )

    def rename(name):
        if name.startswith(('cls_logits', 'bbox_pred')):
            name = name.replace('cls_logits', 'retina_cls')
            return name.replace('bbox_pred', 'retina_reg')
        tower, index, kind = name.split('.')
        tower = dict(cls_tower='cls_convs', bbox_tower='reg_convs')[tower]
        return f'{tower}.{int(index) // 2}.conv.{kind}'

    module = case.load(module, rename).train()
    module.depression.ratio = p['ratio']
    cls, reg = module(feats)
    outputs = {f'cls{level}': out for level, out in enumerate(cls)}
    outputs |= {f'reg{level}': out for level, out in enumerate(reg)}
    with torch.no_grad():
        eval_cls, _ = module.eval()(feats)
    scalar = sum(
        (out * case[f'cotangent_{name}']).sum()
        for name, out in outputs.items()
    )
    outputs |= {f'eval_cls{level}': out for level, out in enumerate(eval_cls)}
    return case.results(outputs, scalar)


@adapter('mal.bag_loss')
def bag_loss(case):
    p = case.params
    init_default_scope('mmdet')
    module = MALRetinaHead(
        p['num_classes'],
        1,
        1,
        feat_channels=1,
        anchor_generator=anchor_generator(p['num_anchors']),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_stds=[0.1, 0.1, 0.2, 0.2],
            # theirs bounds dw and dh above only
            add_ctr_clamp=True,
            ctr_clamp=math.inf,
        ),
        loss_bbox=dict(
            type='SmoothL1Loss',
            beta=p['reg_beta'],
            loss_weight=p['reg_weight'],
        ),
        pre_anchor_topk=p['pre_anchor_topk'],
        bbox_thr=p['bbox_thr'],
        gamma=p['gamma'],
        alpha=p['alpha'],
        legacy_plus_one=p['legacy_plus_one'],
    ).double()
    levels = case.levels('anchors')
    anchors = torch.cat(levels)
    cls = flatten_levels(case.levels('cls_logits'), len(anchors))
    gt = pad_rows([*case['gt']])
    real = gt[..., 4] >= 0
    if case['gt'].shape[1] == 0:
        real = torch.zeros_like(real)
    index = torch.arange(len(levels))
    flat = FlatBatch(
        cls=cls,
        deltas=flatten_levels(case.levels('bbox_pred'), len(anchors)),
        others=(),
        anchors=anchors,
        strides=torch.ones(len(anchors)),
        level=index.repeat_interleave(torch.tensor([len(x) for x in levels])),
        level_sizes=tuple(len(x) for x in levels),
        valid=torch.ones(cls.shape[:2], dtype=torch.bool),
        boxes=gt[..., :4],
        labels=gt[..., 4].long().clamp(min=0),
        mask=real,
    )
    losses = module.loss_flat(flat)
    outputs = {
        'loss_pos': losses['positive_bag_loss'],
        'loss_neg': losses['negative_bag_loss'],
    }
    return case.results(outputs, sum(outputs.values()))


@adapter('mal.anneal')
def anneal(case):
    scores = case['bag_scores']
    sizes = [
        mal.annealed_size(scores.shape[1], progress)
        for progress in case['progress'].tolist()
    ]
    losses = [log_loss(mal.mean_of_best(scores, k), 1) for k in sizes]
    return {'k': torch.tensor(sizes), 'bag_loss': torch.stack(losses)}
