"""Golden ops of FCOS."""

import torch
import torch.nn.functional as F
from golden_runner import adapter

from mmdet_assigners.analysis.recall_rules import count_dataset, fcos_rules
from mmdet_assigners.ops import fcos
from mmdet_assigners.ops.anchor_points import centerness, distance_iou


@adapter('fcos.centerness_variants')
def centerness_variants(case):
    positive = case['labels'] < case.params['num_classes']
    target = case['target_ltrb'].where(positive[:, None], 1)
    central = centerness(target) * positive
    pred = case['pred_ltrb'].detach().requires_grad_()
    kept = pred.where(positive[:, None], target)
    # in square pixels: next to boxes of a few the default eps is seen
    terms = -distance_iou(kept, target, 1e-30).log()
    num_pos = positive.sum().clamp(min=1)
    weighted, norm = fcos.box_loss(terms, central, positive, True)
    weighted = weighted / norm.clamp(min=1e-6)
    plain = fcos.box_loss(terms, central, positive, False)[0] / num_pos
    logits = case['ctr_logits'].detach().requires_grad_()
    bce = F.binary_cross_entropy_with_logits(
        logits, central, positive.to(logits), reduction='sum'
    )
    bce = bce / num_pos
    cls, from_reg = case['cls_logits'], fcos.reg_centerness(pred.detach())

    def grad(loss, leaf):
        return torch.autograd.grad(loss, leaf, retain_graph=True)[0]

    return {
        'centerness_target': central,
        'loss_bbox_weighted': weighted,
        'loss_bbox_unweighted': plain,
        'loss_centerness': bce,
        'grad_ctr_logits': grad(bce, logits),
        'grad_pred_ltrb_weighted': grad(weighted, pred),
        'grad_pred_ltrb_unweighted': grad(plain, pred),
        'score_branch': fcos.ranking_scores(cls, logits),
        'score_branch_sqrt': fcos.ranking_scores(cls, logits, root=True),
        'score_from_reg': fcos.ranking_scores(cls, from_reg),
        'score_none': fcos.ranking_scores(cls, None),
    }


@adapter('fcos.recall_ambiguity')
def recall_ambiguity(case):
    data = [
        case[k] for k in ('gt_bboxes', 'gt_labels', 'gt_image', 'image_hw')
    ]
    return {
        f'stats/{name}': torch.tensor(count_dataset(rule, *data))
        for name, rule in fcos_rules().items()
    }
