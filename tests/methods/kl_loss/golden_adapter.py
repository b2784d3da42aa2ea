"""Golden ops of KL-Loss and variance voting."""

import torch
from golden_runner import adapter

from mmdet_assigners.methods.kl_loss import functional as kl_loss
from mmdet_assigners.methods.kl_loss.coder import CornerDeltaBBoxCoder
from mmdet_assigners.methods.kl_loss.loss import KLLoss
from mmdet_assigners.ops.own_columns import own_columns
from mmdet_assigners.ops.var_voting import VotingOptions, var_voting


@adapter('kl_loss.corner_coder')
def corner_coder(case):
    p = case.params
    weights = p['weights']
    if isinstance(weights, int | float):
        weights = [weights] * 4
    coder = CornerDeltaBBoxCoder(
        # of a weight tuple the first is that of x1 and y1, the second that of
        # x2 and y2
        target_stds=[1 / weights[i] for i in (0, 0, 1, 1)],
        plus_one=p['plus_one'],
        max_shift=p['delta_clip_after_division'],
    )
    proposals = case['proposals']
    return case.results(
        {
            'targets': coder.encode(proposals, case['gts']),
            'decoded': coder.decode(proposals, case['deltas']),
        }
    )


@adapter('kl_loss.loss')
def loss(case):
    labels, target = case['labels'], case['targets']
    positive = labels > 0
    # class 0, background, has columns too: labels are column indices here
    pred = own_columns(case['pred'], labels)
    alpha = own_columns(case['alpha'], labels)
    weight = positive[:, None].expand_as(target).to(target)
    beta, total = case.params['smooth_l1_beta'], max(len(labels), 1)
    value = KLLoss(beta=beta)(pred, alpha, target, weight, avg_factor=total)
    fit, log = (
        term.where(positive[:, None], torch.zeros_like(term)).sum() / total
        for term in kl_loss.kl_terms(pred, alpha, target, beta)
    )
    outputs = {
        'loss': value,
        'official_loss_bbox': fit,
        'official_mul': fit,
        'official_log': log,
    }
    return case.results(outputs, value)


@adapter('kl_loss.var_voting')
def voting(case):
    p = case.params
    options = VotingOptions(
        mode=p['mode'],
        sigma_t=p['sigma_t'],
        iou_threshold=p['iou_thr_hard'],
        soft_sigma=p['soft_sigma'],
        neighbor_iou=p['neighbour_iou_thr'],
        min_score=p['score_prune'],
        plus_one=p['plus_one'],
    )
    votes = var_voting(
        case['boxes'], case['scores'], case['sigma'], options=options
    )
    dets = torch.cat((votes.boxes, votes.scores[:, None]), 1)
    return case.results({'dets': dets, 'num_out': torch.tensor([len(dets)])})
