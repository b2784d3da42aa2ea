"""Golden ops of SaccadeNet."""

import re

import torch
from golden_runner import adapter

from mmdet_assigners.conversion.keypoint_networks import dcn_name
from mmdet_assigners.methods.saccadenet.aggregation import AggregationAttention
from mmdet_assigners.methods.saccadenet.head import SaccadeHead, corner_maps
from mmdet_assigners.models.necks import DLAUpNeck
from mmdet_assigners.ops import heatmaps


@adapter('saccadenet.aggatt')
@adapter('saccadenet.aggatt_ctreg')
def aggatt(case):
    params = case.params
    assert params['kernel'] == 3
    mode = 'corners_edges'
    if params['mode'] == 'v1':
        fixed = params['fixed_bottom_right']
        mode = 'corners' if fixed else 'official_v1'
    module = AggregationAttention(
        params['in_channels'],
        params['mid_channels'],
        params['final_channels'],
        mode,
        params['grad_scale_wh'],
    )
    change = case.load(module)(case['feat'], case['wh'])
    outputs = {'final_wh': change[:, :2] + case['wh'].detach()}
    if 'reg' in case.inputs:
        outputs['final_reg'] = change[:, 2:] + case['reg'].detach()
    every = torch.cat(list(outputs.values()), 1)
    return case.results(outputs, (every * case['cotangent']).sum())


@adapter('saccadenet.targets')
def targets(case):
    params = case.params
    boxes, labels = case['boxes'][None], case['labels'][None]
    size = (params['out_h'], params['out_w'])
    found = heatmaps.center_targets(
        boxes,
        labels,
        torch.ones_like(labels, dtype=torch.bool),
        params['num_classes'],
        size,
        params['min_overlap'],
    )
    valid = found.valid[0]
    return {
        'heatmap': found.heatmap[0],
        'corner_official': corner_maps(boxes, found, size, True)[0],
        'corner_4ch': corner_maps(boxes, found, size)[0],
        'wh': found.size[0],
        'reg': found.offset[0] * valid[:, None],
        'inds': found.index[0] * valid,
        'mask': valid,
    }


@adapter('saccadenet.loss')
def loss(case):
    params = case.params
    assert params['clamp'] == 1e-4
    l1 = dict(type='L1Loss')
    head = SaccadeHead(
        4, 4, case['gt_hm'].shape[1], loss_wh=l1, loss_final_wh=l1
    )
    wanted = heatmaps.CenterTargets(
        case['gt_hm'],
        case['gt_wh'],
        case['gt_reg'],
        torch.zeros_like(case['inds']),
        case['inds'],
        case['mask'].bool(),
        torch.zeros_like(case['inds']),
    )
    losses = head.saccade_losses(
        wanted,
        case['gt_cor_att'],
        case['pred_hm'].sigmoid(),
        case['pred_wh'],
        case['pred_reg'],
        case['pred_final_wh'],
        case['pred_reg'],
        case['pred_cor_att'].sigmoid(),
    )
    outputs = {
        'hm': losses['loss_center_heatmap'],
        'wh': losses['loss_wh'],
        'off': losses['loss_offset'],
        'cor_att': losses['loss_corner'] / params['cor_att_divisor'],
        'final_wh': losses['loss_final_wh'],
    }
    total = sum(params[f'{n}_weight'] * value for n, value in outputs.items())
    outputs = {f'{name}_loss': value for name, value in outputs.items()}
    return case.results({'loss': total, **outputs}, total)


@adapter('saccadenet.decode')
def decode(case):
    params = case.params
    head = SaccadeHead(4, 4, case['hm'].shape[1])
    sizes, offsets = case['final_wh'], case['reg']
    outs = (case['hm'].sigmoid(), sizes, offsets, sizes, offsets)
    if params['flip']:
        outs = [maps for (maps,) in head.merge_mirrored(*outs)]
    rows, labels = head._decode_heatmap(
        outs[0],
        outs[3],
        outs[4],
        outs[0].shape[2:],
        params['K'],
        params['kernel'],
    )
    return {'dets': torch.cat((rows, labels[..., None]), -1)}


@adapter('saccadenet.dla_neck')
def dla_neck(case):
    def rename(name):
        name = re.sub(r'^dla_up\.ida_(\d)', r'steps.\1', name)
        return dcn_name(re.sub(r'^ida_up', 'last', name))

    neck = case.load(DLAUpNeck(case.params['channels']).eval(), rename)
    return case.results({'out': neck(case.levels('feat'))[0]})
