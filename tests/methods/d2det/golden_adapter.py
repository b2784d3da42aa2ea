"""Golden ops of D2Det."""

import torch
from golden_runner import adapter
from torch import nn

from mmdet_assigners.methods.d2det import functional as d2det
from mmdet_assigners.methods.d2det.head import D2DetHead
from mmdet_assigners.methods.d2det.instance_head import D2DetInstanceHead
from mmdet_assigners.methods.d2det.pooling import (
    DiscriminativeRoIPool,
    WeightedPool,
)


@adapter('d2det.weighted_pool')
def weighted_pool(case):
    p = case.params
    pool = WeightedPool(
        case['x'].shape[1],
        coeff=p['coeff'],
        kernel_size=p['kernel'],
        stride=p['stride'],
        padding=p['padding'],
        eps=p['eps'],
    )
    return case.results({'out': case.load(pool)(case['x'])})


@adapter('d2det.discriminative_pool')
def discriminative_pool(case):
    p = case.params
    pool = case.load(
        DiscriminativeRoIPool(
            output_size=p['out_size'],
            spatial_scale=p['spatial_scale'],
            in_channels=case['feat'].shape[1],
            fc_out_channels=case.weights['offset_fc.0.bias'].numel(),
            sampling_ratio=p['sample_per_part'],
            gamma=p['trans_std'],
            light_size=p['light_size'],
            coeff=p['coeff'],
            pool_mode=p['pooling'],
        )
    )
    light = pool.light(case['feat'], case['rois'])
    offsets = pool.offsets(light)
    fine = pool.oversampled(case['feat'], case['rois'], offsets)
    out = pool.awp(fine)
    results = {'light': light, 'offsets': offsets, 'oversampled': fine}
    scalar = (out * case['cotangent']).sum()
    return case.results(results | {'out': out}, scalar)


OURS = {
    'D2Det_reg': 'head.conv_reg',
    'D2Det_mask': 'head.conv_mask',
    'convs': 'head.convs',
    'deconv1': 'instance.upsample',
    'norm1': 'instance.norm',
    'deconv2': 'instance.upsample2',
    'D2Det_instance': 'instance.conv_logits',
    'fc_instance_iou': 'instance.fc_iou',
}


def dense(case):
    p = case.params
    parts = nn.ModuleDict()
    parts['head'] = D2DetHead(
        in_channels=case['x'].shape[1],
        num_convs=p['num_convs'],
        conv_channels=p['conv_channels'],
        norm_cfg=dict(type='GN', num_groups=p['gn_groups']),
    )
    if p['with_mask']:
        parts['instance'] = D2DetInstanceHead(
            p['conv_channels'],
            p['num_classes'] + 1,  # theirs has a mask of the background
            len(case.weights['deconv2.bias']),
            p['gn_groups'],
            len(case.weights['fcs.0.bias']),
        )

    def rename(name):
        first, _, rest = name.partition('.')
        return f'{OURS.get(first, f"instance.{first}")}.{rest}'

    return case.load(parts, rename)


@adapter('d2det.dense_head')
def dense_head(case):
    reg, mask, _ = dense(case)['head'](case['x'])
    return case.results({'reg': reg, 'mask': mask})


@adapter('d2det.dense_head_instance')
def dense_head_instance(case):
    parts = dense(case)
    reg, mask, feats = parts['head'](case['x'])
    instance, iou = parts['instance'](feats, case['labels'])
    outputs = {'reg': reg, 'mask': mask, 'instance': instance, 'iou': iou}
    return case.results(outputs)


@adapter('d2det.loss')
def loss(case):
    p = case.params
    size = case['reg'].shape[-1]
    points = d2det.cell_points(case['pos_bboxes'], size)
    targets = d2det.distances(points, case['gt_bboxes'])
    overlap = d2det.overlap_targets(points, targets)
    boxes = d2det.decode(points, case['reg'])
    each = d2det.box_losses(
        boxes, case['gt_bboxes'], p['iou_floor'], p['eps'], p['plus_one']
    )
    loss_reg = p['loss_weight'] * d2det.weigh(
        each, overlap.flatten(1), p['variant']
    )
    loss_mask = d2det.overlap_loss(case['mask_logits'], overlap)
    outputs = {
        'points': points,
        'targets': targets,
        'overlap': overlap,
        'decoded': boxes.flatten(0, 1),
        'loss_reg': loss_reg,
        'loss_mask': loss_mask,
    }
    return case.results(outputs, loss_reg + loss_mask)


@adapter('d2det.jitter')
def jitter(case):
    shape = case.params['img_shape']
    return case.results(
        {'jittered': d2det.jitter(case['bboxes'], case['noise'], shape)}
    )


@adapter('d2det.inference_average')
def inference_average(case):
    p, dets = case.params, case['dets']
    boxes, _ = d2det.average_boxes(
        dets[:, :4], case['reg'], case['mask_logits'], p['eps']
    )
    boxes = d2det.clip(boxes, p['img_shape'])
    return case.results({'boxes': torch.cat((boxes, dets[:, 4:]), 1)})


@adapter('d2det.instance_targets')
def instance_targets(case):
    p, masks = case.params, case['mask_targets']
    overlap = d2det.mask_overlap(masks, masks.shape[-1] // 4)
    ious = d2det.mask_ious(
        case['mask_logits'], masks, case['area_ratios'], p['logit_threshold']
    )
    loss_iou = p['loss_weight'] * d2det.iou_loss(case['iou_pred'], ious)
    outputs = {'overlap': overlap, 'iou_targets': ious, 'loss_iou': loss_iou}
    return case.results(outputs, loss_iou)
