"""Golden ops of AP-loss."""

import torch
from golden_runner import adapter
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from mmdet_assigners.methods.ap_loss.functional import ap_loss
from mmdet_assigners.models.dense_heads import RankingRetinaHead
from mmdet_assigners.models.dense_heads.flat_head import FlatBatch


@adapter('ap_loss.core')
def core(case):
    loss = ap_loss(case['logits'], case['targets'], case.params['delta'])
    return case.results({'loss': loss}, loss)


def build_head(p, num_classes):
    """The registered head with the options of a case."""
    init_default_scope('mmdet')
    return RankingRetinaHead(
        num_classes=num_classes,
        in_channels=1,
        feat_channels=1,
        stacked_convs=0,
        bbox_coder=dict(
            type='LegacyDeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        loss_cls=dict(type='APLoss', use_sigmoid=True, delta=p['delta']),
        loss_bbox=dict(type='SmoothL1Loss', beta=p['beta'], loss_weight=0.25),
        train_cfg=ConfigDict(
            assigner=dict(
                type='BatchMaxIoUAssigner',
                pos_iou_thr=p['pos_iou_thr'],
                neg_iou_thr=p['neg_iou_thr'],
                low_quality='own',
                legacy_plus_one=True,
            )
        ),
    )


@adapter('ap_loss.full')
def full(case):
    cls, deltas, anchors = (
        case[name] for name in ('cls_logits', 'bbox_pred', 'anchors')
    )
    gts = case['annotations']
    if gts.shape[1] == 0:
        gts = gts.new_full((len(gts), 1, 5), -1)
    priors = len(anchors)
    flat = FlatBatch(
        cls=cls,
        deltas=deltas,
        others=(),
        anchors=anchors,
        strides=anchors.new_ones(priors),
        level=torch.zeros(priors, dtype=torch.long),
        level_sizes=(priors,),
        valid=torch.ones(cls.shape[:2], dtype=torch.bool),
        boxes=gts[..., :4],
        labels=gts[..., 4].long().clamp(min=0),
        mask=gts[..., 4] >= 0,
    )
    losses = build_head(case.params, cls.shape[2]).loss_flat(flat)
    outputs = {
        'loss_cls': losses['loss_cls'],
        # the official code logs four times what it differentiates
        'loss_reg': 4 * losses['loss_bbox'],
    }
    return case.results(outputs, losses['loss_cls'] + losses['loss_bbox'])
