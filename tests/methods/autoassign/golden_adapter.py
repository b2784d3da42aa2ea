"""Golden op of AutoAssign."""

from golden_runner import adapter

from mmdet_assigners.methods.autoassign import functional as autoassign
from mmdet_assigners.ops.anchor_points import pad_gts


@adapter('autoassign.loss')
def loss(case):
    p = case.params
    xy, reg = case['points'], case['reg_pred']
    probs = case['cls_logits'].sigmoid()
    if p['objectness'] == 'implicit':
        probs = probs * case['obj_logits'].sigmoid()
    inputs = autoassign.BagInputs(
        xy,
        case['point_stride'],
        probs,
        autoassign.boxes_of(xy, reg),
        case['mu'],
        case['sigma'],
        *pad_gts(case.levels('gt_bboxes_'), case.levels('gt_labels_')),
    )
    rules = autoassign.Rules(
        center_prior=p['center_prior'],
        confidence=p['confidence'],
        neg_weight=p['neg_weight'],
        tau=p['tau'],
        lambda_loc=p['lambda_loc'],
    )
    sums = autoassign.loss_sums(inputs, rules, p['gamma'])
    losses = {
        'loss_pos': p['pos_loss_weight']
        * (sums.positive / sums.num_gt.clamp(min=1)),
        'loss_neg': p['neg_loss_weight']
        * (sums.negative / sums.prior.clamp(min=1)),
        'loss_center': p['center_loss_weight'] * sums.center,
    }
    return case.results(losses, sum(losses.values()))
