"""Golden ops of Guided Anchoring."""

import torch
from golden_runner import adapter

from mmdet_assigners.methods.guided_anchoring.functional import (
    location_mask,
    shape_loss,
)
from mmdet_assigners.methods.guided_anchoring.layers import BatchMaskedConv


@adapter('guided_anchoring.masked_conv')
def masked_conv(case):
    kernel = case.params['kernel']
    out, channels = case.weights['weight'].shape[:2]
    conv = BatchMaskedConv(
        channels,
        out,
        kernel,
        padding=kernel // 2,
        bias='bias' in case.weights,
    )
    conv = case.load(conv)
    mask = location_mask(case['loc_pred'], case.params['loc_filter_thr'])
    return case.results({'mask': mask, 'out': conv(case['feat'], mask)})


@adapter('guided_anchoring.shape_loss')
def shape_losses(case):
    loss = shape_loss(case['pred_wh'], case['gt_wh'], case.params['beta'])
    return case.results({'loss': loss}, torch.sum(loss))
