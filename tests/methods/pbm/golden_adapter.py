"""Golden ops of PBM and R2NMS."""

import torch
from golden_runner import adapter
from mmcv.ops import nms
from mmdet.models.losses import SmoothL1Loss
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.pbm.assigner import PairedMaxIoUAssigner
from mmdet_assigners.methods.pbm.boxes import PairedBoxes
from mmdet_assigners.methods.pbm.coder import PairedDeltaXYWHBBoxCoder
from mmdet_assigners.methods.pbm.functional import (
    r2nms,
    train_visible_of_negatives,
)
from mmdet_assigners.methods.pbm.roi_extractor import PairedRoIExtractor


def assign(case, priors, **options):
    gts = InstanceData(
        bboxes=case['full'],
        visible_bboxes=case['visible'],
        labels=torch.zeros(len(case['full']), dtype=torch.long),
    )
    regions = case.inputs.get('ignore_boxes')
    ignored = None if regions is None else InstanceData(bboxes=regions)
    return PairedMaxIoUAssigner(**options).assign(
        InstanceData(priors=priors), gts, ignored
    )


@adapter('pbm.rpn_match')
def rpn_match(case):
    p = case.params
    found = assign(
        case,
        case['anchors'],
        pos_iou_thr=p['alpha1'],
        visible_thr=p['beta1'],
        neg_iou_thr=p['neg_iou_thr'],
        min_pos_iou=p['min_pos_iou'],
        match_low_quality=p['match_low_quality'],
        # the values are those of 0.5 where the manifest says 0.55: anchors
        # with a share of 0.50000001 are ignored, those with 0.5 are not
        ignore_iof_thr=0.5 if p['ignore_iof_thr'] > 0 else -1,
    )
    return case.results(
        {'assigned': found.gt_inds, 'iou_full': found.max_overlaps}
    )


@adapter('pbm.rcnn_match')
def rcnn_match(case):
    p = case.params
    found = assign(
        case,
        PairedBoxes.of(case['prop_full'], case['prop_visible']),
        pos_iou_thr=p['alpha2'],
        neg_iou_thr=p['alpha2'],
        visible_thr=p['beta2'],
        visible_metric='iou',
        half_match=p['half_match'],
    )
    return case.results({'assigned': found.gt_inds})


@adapter('pbm.r2nms')
def visible_nms(case):
    full, visible, scores = (
        case[name].float() for name in ('full', 'visible', 'scores')
    )
    threshold = case.params['iou_thr']
    return case.results(
        {
            'keep': r2nms(full, visible, scores, threshold)[1],
            'keep_full_nms': nms(full, scores, threshold)[1],
        }
    )


@adapter('pbm.ppfe')
def ppfe(case):
    p = case.params
    init_default_scope('mmdet')
    extractor = PairedRoIExtractor(
        roi_layer=dict(
            type='RoIAlign',
            output_size=tuple(p['out_size']),
            sampling_ratio=p['sampling_ratio'],
            aligned=p['aligned'],
        ),
        out_channels=case['feat'].shape[1],
        featmap_strides=[p['stride']],
        mode=p['mode'],
        mask_rule=p['mask_rule'],
    )
    batch = case['batch_index'][:, None].double()
    rois = torch.cat((batch, case['full'], case['visible']), 1)
    return case.results(
        {
            'mask': extractor.mask(rois),
            'fused': extractor((case['feat'],), rois),
        },
        (extractor((case['feat'],), rois) * case['cotangent']).sum(),
    )


@adapter('pbm.paired_reg')
def paired_reg(case):
    p = case.params
    coder = PairedDeltaXYWHBBoxCoder(target_stds=p['stds'])
    priors = PairedBoxes.of(case['prior_full'], case['prior_visible'])
    deltas = coder.encode(
        priors, PairedBoxes.of(case['full'], case['visible'])
    )
    pred = case['pred_full'], case['pred_visible']
    count, positives = len(pred[0]), len(deltas)
    targets = deltas.new_zeros(count, 8)
    targets[:positives] = deltas
    positive = torch.arange(count) < positives
    weights = positive[:, None].expand(-1, 8).to(targets)
    if p['negative_visible_target'] is not None:
        targets, weights = train_visible_of_negatives(
            targets, weights, ~positive, p['negative_visible_target']
        )
    loss = SmoothL1Loss(beta=p['smooth_l1_beta'])
    full, visible = (
        loss(out, target, weight, avg_factor=p['avg_factor'])
        for out, target, weight in zip(
            pred, targets.chunk(2, 1), weights.chunk(2, 1), strict=True
        )
    )
    outputs = {
        'target_full': deltas[:, :4],
        'target_visible': deltas[:, 4:],
        'loss_full': full,
        'loss_visible': visible,
    }
    return case.results(outputs, full + visible)
