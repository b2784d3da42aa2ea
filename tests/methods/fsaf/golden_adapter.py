"""Golden op of FSAF."""

import torch
import torch.nn.functional as F
from golden_runner import adapter

from mmdet_assigners.methods.fsaf import functional as fsaf
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

STRIDES = (8, 16, 32, 64, 128)
LTRB = [1, 0, 3, 2]  # also turns l, t, r, b into t, l, b, r


@adapter('fsaf.targets_losses')
def targets_losses(case):
    p = case.params
    shapes = case['feat_shapes'].tolist()
    points = anchor_points(
        shapes, STRIDES[: len(shapes)], p['offset'], dtype=torch.float64
    )
    gts = len(case['gt_bboxes'])
    boxes, labels, mask = pad_gts([case['gt_bboxes']], [case['gt_labels']])
    rules = fsaf.FSAFRules(
        effective_scale=p['eps_effective'],
        ignore_scale=p['eps_ignore'],
        ignore_adjacent_levels=p['ignore_adjacent_levels'],
        level_select=p['select'],
        region_rule=p['region_rule'],
        normalizer=p['S'],
    )
    cls_pred = case['cls_logits'][None]
    reg_pred = case['reg_pred'][None, :, LTRB]
    focal = p['alpha'], p['gamma']
    search = (points, boxes, labels)
    losses = fsaf.fsaf_level_losses(*search, cls_pred, reg_pred, rules, *focal)
    found = fsaf.fsaf_targets(*search, mask, cls_pred, reg_pred, rules, *focal)
    cls, box, num_pos = fsaf.fsaf_losses(
        cls_pred, reg_pred, found, *focal, rules.min_iou
    )
    norm = num_pos.clamp(min=1)
    core = fsaf.effective_points(points, boxes, rules)(slice(None))
    ignore = core | fsaf.ignoring_points(points, boxes, rules)(slice(None))
    one_hot = F.one_hot(found.labels, p['num_classes']).double()
    outputs = {
        'core': core[0, :gts].T,
        'ignore': ignore[0, :gts].T,
        'level_losses': losses[0, :gts],
        'online_level': losses[0, :gts].argmin(-1),
        'heuristic_level': fsaf.heuristic_levels(boxes, points.strides)[
            0, :gts
        ],
        'assigned_gt': found.assigned[0],
        'cls_target': (one_hot * found.positive[..., None])[0],
        'cls_weight': found.cls_weight[0],
        'reg_target': found.distances[0][:, LTRB],
        'num_pos': norm,
        'loss_cls': cls / norm,
        'loss_bbox': box / norm,
    }
    return case.results(outputs, outputs['loss_cls'] + outputs['loss_bbox'])
