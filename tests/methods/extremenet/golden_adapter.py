"""Golden ops of ExtremeNet."""

import numpy as np
import torch
from golden_runner import adapter
from mmengine.structures import InstanceData

from mmdet_assigners.methods.extremenet.functional import (
    ExtremeTargets,
    aggregate_edges,
    extreme_targets,
    suppress_ghosts,
)
from mmdet_assigners.methods.extremenet.grouping import Groups
from mmdet_assigners.methods.extremenet.head import (
    ExtremeHead,
    both_directions,
)
from mmdet_assigners.methods.extremenet.points import extreme_points
from mmdet_assigners.models.dense_heads.center_point_head import (
    SOFT_NMS,
    merge_duplicates,
)


def to_rows(found):
    """Rows (N, 14) of the official code."""
    return torch.cat(
        (
            found.boxes,
            found.scores[:, None],
            found.points.flatten(1),
            found.labels[:, None],
        ),
        1,
    )


def from_rows(rows):
    return Groups(
        boxes=rows[:, :4],
        scores=rows[:, 4],
        labels=rows[:, 13].long(),
        points=rows[:, 5:13].unflatten(1, (4, 2)),
    )


@adapter('extremenet.extreme_points')
def points_of_outlines(case):
    tolerance = case.params['rel_thresh']
    found = [
        extreme_points(vertices[:count].numpy(), tolerance)
        for vertices, count in zip(case['pts'], case['num'], strict=True)
    ]
    return {'extreme_pts': torch.tensor(np.array(found)).view(-1, 4, 2)}


@adapter('extremenet.targets')
def targets(case):
    params = case.params
    side = params['output_size']
    ratio = side / params['input_size']
    boxes, labels = case['boxes'], case['labels']
    found = extreme_targets(
        case['extreme_pts'][None] * ratio,
        (boxes[:, 2:] - boxes[:, :2])[None] * ratio,
        labels[None],
        torch.ones_like(labels[None], dtype=torch.bool),
        params['num_classes'],
        (side, side),
        params['gaussian_iou'],
    )
    return {
        'heatmaps': found.heatmaps[0],
        'offsets': found.offsets[0],
        'inds': found.index[0],
        'radius': found.radius[0],
    }


@adapter('extremenet.edge_aggregation')
def edge_aggregation(case):
    weight = case.params['aggr_weight']
    return case.results(
        {
            'h_aggr': aggregate_edges(case['heat'], weight, -1),
            'v_aggr': aggregate_edges(case['heat'], weight, -2),
        }
    )


@adapter('extremenet.loss')
def loss(case):
    params = case.params
    heat, offsets = case['heat_logits'], case['offset_maps']
    head = ExtremeHead(
        heat.shape[3],
        4,
        4,
        num_feat_levels=params['stacks'],
        clamp=params['clamp'],
        loss_heatmap=dict(
            type='GaussianFocalLoss',
            alpha=params['alpha'],
            gamma=params['beta'],
        ),
        loss_offset=dict(
            type='SmoothL1Loss', loss_weight=params['regr_weight']
        ),
    )
    wanted = ExtremeTargets(
        case['gt_heat'],
        case['gt_offsets'],
        case['gt_inds'],
        case['gt_mask'],
        torch.zeros_like(case['gt_inds']),
    )
    losses = head.mean_losses(
        wanted, *(m.transpose(1, 2).unbind() for m in (heat, offsets))
    )
    focal = losses['loss_heatmap'] + losses['loss_center']
    regr = losses['loss_offset']
    total = focal + regr
    return case.results({'loss': total, 'focal': focal, 'regr': regr}, total)


@adapter('extremenet.decode')
def decode(case):
    params = case.params
    heat, offsets = (
        case[name].detach().transpose(0, 1)
        for name in ('heat_logits', 'offset_maps')
    )
    head = ExtremeHead(heat.shape[2], 4, 4)
    groups = head.decode(
        heat,
        offsets,
        dict(
            extreme_topk=params['K'],
            local_maximum_kernel=params['kernel'],
            aggr_weight=params['aggr_weight'],
            score_thr=params['scores_thresh'],
            center_thr=params['center_thresh'],
            num_dets=params['num_dets'],
        ),
    )
    longest = case.expected['dets'].shape[1]
    rows = heat.new_zeros(len(groups), longest, 14)
    for own, found in zip(rows, groups, strict=True):
        own[: len(found.boxes)] = to_rows(found)
    return {
        'dets': rows,
        'num': torch.tensor([len(found.boxes) for found in groups]),
    }


@adapter('extremenet.ghost')
def ghost(case):
    rows, gate = case['dets'], case.params['score_gate']
    return {
        f'scores_mult{times}': suppress_ghosts(
            rows[:, :4], rows[:, 4], times, gate
        )
        for times in (3, 4)
    }


@adapter('extremenet.soft_nms')
def soft_nms(case):
    params = case.params
    found = from_rows(case['dets'])
    nms = dict(
        SOFT_NMS,
        sigma=params['sigma'],
        min_score=params['min_score'],
        offset=int(params['plus_one']),
    )
    kept = merge_duplicates(
        InstanceData(
            bboxes=found.boxes,
            scores=found.scores,
            labels=torch.zeros_like(found.labels),
            rows=case['dets'],
        ),
        nms,
        -1,
    )
    rows = kept.rows.clone()
    rows[:, 4] = kept.scores
    return {'kept': rows, 'num_kept': torch.tensor(len(rows))}


@adapter('extremenet.flip_merge')
def flip_merge(case):
    params = case.params
    sizes = [int(params[f'img_{side}'] * params['scale']) for side in 'hw']
    inputs = [params[f'inp_{side}'] for side in 'hw']
    border = []
    for size, whole in zip(sizes, inputs, strict=True):
        first = whole // 2 - size // 2
        border += [first, first + size]
    plain, mirrored = map(from_rows, case['dets'])
    found = both_directions(plain, mirrored, params['out_w'])
    meta = dict(
        border=border,
        img_shape=inputs,
        batch_input_shape=inputs,
        scale_factor=(params['scale'],) * 2,
    )
    maps = (params['out_h'], params['out_w'])
    pixels = ExtremeHead.to_instances(found, maps, meta, rescale=True)
    merged = Groups(
        pixels.bboxes, pixels.scores, pixels.labels, pixels.extreme_points
    )
    return {'merged': to_rows(merged), 'border': torch.tensor(border)}
