"""Golden ops of CenterNet."""

import re

import numpy as np
import torch
from golden_runner import adapter
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.conversion.keypoint_networks import (
    convert_hourglass,
    dcn_name,
)
from mmdet_assigners.models.backbones.dla import DLANet, Tree
from mmdet_assigners.models.dense_heads import CenterPointHead
from mmdet_assigners.models.layers.merge_duplicates import merge_duplicates
from mmdet_assigners.models.necks.dla_up import DLAUpNeck, bilinear_kernel
from mmdet_assigners.ops import heatmaps

HEADS = dict(hm='heatmap_head', wh='wh_head', reg='offset_head')


def drop_unused(case):
    """Leave out projections of deep trees, which ours don't have."""
    deep = {
        name.partition('tree1.tree1.')[0]
        for name in case.weights
        if 'tree1.tree1.' in name
    }
    case.weights = {
        name: value
        for name, value in case.weights.items()
        if name.partition('project.')[0] not in deep or 'project.' not in name
    }


@adapter('centernet.dla_tree')
def dla_tree(case):
    params = case.params
    assert params['block'] == 'BasicBlock'
    drop_unused(case)
    tree = Tree(
        params['levels'],
        params['in_channels'],
        params['out_channels'],
        params['stride'],
        params['level_root'],
        params['root_residual'],
    )
    return case.results({'y': case.load(tree.eval())(case['x'])})


def head_names(name):
    for theirs, ours in HEADS.items():
        name = re.sub(rf'^{theirs}\.', f'head.{ours}.', name)
    return name


def neck_names(name):
    """Official names of the up-sampling part -> ours."""
    name = re.sub(r'^dla_up\.ida_(\d)', r'neck.steps.\1', name)
    name = re.sub(r'^ida_up', 'neck.last', name)
    return dcn_name(name)


@adapter('centernet.dla_seg')
def dla_seg(case):
    params = case.params
    assert params['down_ratio'] == 4 and params['last_level'] == 5
    assert params['final_kernel'] == 1
    drop_unused(case)
    channels = params['channels']
    net = nn.ModuleDict(
        dict(
            base=DLANet(params['levels'], channels),
            neck=DLAUpNeck(channels[2:]),
            head=CenterPointHead(
                channels[2], params['head_conv'], params['heads']['hm']
            ),
        )
    )
    case.load(net.eval(), lambda name: neck_names(head_names(name)))
    (x,) = net['neck'](net['base'](case['x']))
    return case.results(
        {name: getattr(net['head'], ours)(x) for name, ours in HEADS.items()}
    )


@adapter('centernet.hourglass')
def hourglass(case):
    from mmdet.models.backbones import HourglassNet

    params = case.params
    count = params['num_stacks']
    net = nn.ModuleDict(
        dict(
            backbone=HourglassNet(
                downsample_times=params['n'],
                num_stacks=count,
                stage_channels=params['dims'],
                stage_blocks=params['modules'],
                feat_channel=params['cnv_dim'],
            ),
            bbox_head=CenterPointHead(
                params['cnv_dim'],
                params['dims'][0],
                params['heads']['hm'],
                num_stacks=count,
            ),
        )
    )
    names = convert_hourglass({n: n for n in case.weights}, HEADS)
    ours = {theirs: name for name, theirs in names.items()}
    case.load(net.eval(), ours.__getitem__)
    owners = [*net['bbox_head'].earlier, net['bbox_head']]
    outputs = {}
    maps = net['backbone'](case['x'])
    for s, (x, owner) in enumerate(zip(maps, owners, strict=True)):
        for name, ours in HEADS.items():
            outputs[f'{name}_{s}'] = getattr(owner, ours)(x)
    return case.results(outputs)


@adapter('centernet.up_init')
def up_init(case):
    return {
        f'up{f}': bilinear_kernel(f).expand(case.params['groups'], 1, -1, -1)
        for f in case['factors'].tolist()
    }


@adapter('centernet.targets')
def targets(case):
    params = case.params
    slots = params['max_objs']
    boxes, labels = case['boxes'][:slots], case['labels'][:slots]
    found = heatmaps.center_targets(
        boxes[None],
        labels[None],
        torch.ones_like(labels[None], dtype=torch.bool),
        params['num_classes'],
        (params['out_h'], params['out_w']),
        params['min_overlap'],
    )

    def pad(rows, value=0):
        full = rows.new_full((slots, *rows.shape[2:]), value)
        full[: len(boxes)] = rows[0]
        return full

    valid = found.valid[..., None]
    return {
        'hm': found.heatmap[0],
        'wh': pad(found.size),
        'reg': pad(found.offset * valid),
        'ind': pad(found.index * found.valid),
        'mask': pad(found.valid),
        'radius': pad(found.radius, -1),
    }


@adapter('centernet.loss')
def loss(case):
    params = case.params
    assert params['sigmoid_clamp'] == [1e-4, 1 - 1e-4]
    assert params['reg_eps'] == 1e-4
    classes = case['hm'].shape[1]
    head = CenterPointHead(
        4,
        4,
        classes,
        num_stacks=params['num_stacks'],
        loss_center_heatmap=dict(
            type='GaussianFocalLoss',
            alpha=params['alpha'],
            gamma=params['beta'],
        ),
        loss_wh=dict(type='L1Loss'),
    )
    wanted = heatmaps.CenterTargets(
        case['hm'],
        case['wh'],
        case['reg'],
        torch.zeros_like(case['ind']),
        case['ind'],
        case['mask'].bool(),
        torch.zeros_like(case['ind']),
    )
    stacks = [
        head.stack_losses(
            wanted,
            case[f'pred_hm_{s}'].sigmoid(),
            case[f'pred_wh_{s}'],
            case[f'pred_reg_{s}'],
        )
        for s in range(params['num_stacks'])
    ]
    names = dict(hm='loss_center_heatmap', wh='loss_wh', off='loss_offset')
    parts = {
        short: sum(s[name] for s in stacks) / len(stacks)
        for short, name in names.items()
    }
    total = sum(params[f'{s}_weight'] * value for s, value in parts.items())
    outputs = {f'{short}_loss': value for short, value in parts.items()}
    return case.results({'loss': total, **outputs}, total)


@adapter('centernet.decode')
def decode(case):
    params = case.params
    head = CenterPointHead(4, 4, case['hm'].shape[1])
    outs = case['hm'].sigmoid(), case['wh'], case['reg']
    if params['flip_test']:
        outs = [maps for (maps,) in head.merge_mirrored(*outs)]
    size = outs[0].shape[2:]
    rows, labels = head._decode_heatmap(
        *outs, size, params['K'], params['kernel']
    )
    return {'dets': torch.cat((rows, labels[..., None]), -1)}


@adapter('centernet.multiscale_merge')
def multiscale_merge(case):
    params = case.params
    assert params['method'] == 'gaussian'
    rows = case['dets'].flatten(0, 1).detach()
    found = InstanceData(
        bboxes=rows[:, :4], scores=rows[:, 4], labels=rows[:, 5].long()
    )
    nms = dict(
        type='soft_nms',
        sigma=params['sigma'],
        min_score=params['min_score'],
        method='gaussian',
        offset=params['box_offset'],
    )
    merged = merge_duplicates(found, nms, params['max_per_image'])
    merged = torch.cat(
        (merged.bboxes, merged.scores[:, None], merged.labels[:, None]), 1
    )
    return {
        'merged': merged,
        'merged_untruncated': stale_merge(rows.float().numpy(), params),
    }


def stale_merge(rows, params):
    """The official merge, which keeps rows that soft-NMS has overwritten."""
    parts = []
    for label in range(params['num_classes']):
        part = rows[rows[:, 5] == label]
        stale_soft_nms(part, **params)
        parts.append(part)
    rows = np.concatenate(parts)
    rows = rows[np.argsort(-rows[:, 4], kind='stable')]
    limit = params['max_per_image']
    if len(rows) > limit:
        rows = rows[rows[:, 4] >= rows[limit - 1, 4]]
    return torch.from_numpy(rows)


def stale_soft_nms(rows, sigma, min_score, box_offset, **_):
    """Gaussian soft-NMS in place: the last row takes a removed one's place."""
    count = len(rows)
    first = 0
    while first < count:
        best = first + rows[first:count, 4].argmax()
        rows[[first, best]] = rows[[best, first]]
        x1, y1, x2, y2 = rows[first, :4]
        at = first + 1
        while at < count:
            a1, b1, a2, b2 = rows[at, :4]
            width = min(x2, a2) - max(x1, a1) + box_offset
            height = min(y2, b2) - max(y1, b1) + box_offset
            if width > 0 and height > 0:
                areas = [
                    (right - left + box_offset) * (bottom - top + box_offset)
                    for left, top, right, bottom in (
                        (x1, y1, x2, y2),
                        (a1, b1, a2, b2),
                    )
                ]
                both = width * height
                overlap = both / (sum(areas) - both)
                rows[at, 4] *= np.exp(-overlap * overlap / sigma)
                if rows[at, 4] < min_score:
                    rows[at] = rows[count - 1]
                    count -= 1
                    continue
            at += 1
        first += 1
