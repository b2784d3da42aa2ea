"""Golden ops of TSD."""

from types import SimpleNamespace

import torch
from golden_runner import adapter
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict

from mmdet_assigners.methods.tsd import convert as converter
from mmdet_assigners.methods.tsd import functional as tsd
from mmdet_assigners.methods.tsd.bbox_head import TSDBBoxHead
from mmdet_assigners.methods.tsd.pyramid import pyramid_rois
from mmdet_assigners.ops.anchor_points import move_ends
from mmdet_assigners.ops.deform_roi_pool import deform_roi_pool
from mmdet_assigners.ops.own_columns import own_columns


def legacy_pool(case, offset):
    p = case.params
    return deform_roi_pool(
        case['feat'],
        case['rois'],
        p['out_size'],
        p['spatial_scale'],
        offset,
        mode='legacy',
        sampling_ratio=p['sample_per_part'],
        gamma=p['trans_std'],
    )


@adapter('tsd.pool_plain')
def pool_plain(case):
    return case.results({'out': legacy_pool(case, None)})


@adapter('tsd.pool_offset')
def pool_offset(case):
    offset = case['offset']
    if case.params['mode'] == 'pixel':
        size = case.params['out_size']
        offset = offset.view(-1, 2, size, size)
    return case.results({'out': legacy_pool(case, offset)})


@adapter('tsd.pool_aligned')
def pool_aligned(case):
    p = case.params
    out = deform_roi_pool(
        case['feat'],
        case['rois'],
        p['output_size'],
        p['spatial_scale'],
        case['offset'],
        sampling_ratio=p['sampling_ratio'],
        gamma=p['gamma'],
    )
    return case.results({'out': out})


def boxes_of(case, rois):
    """Inclusive boxes as exclusive ones, for which all formulas hold."""
    return move_ends(rois, case.params['plus_one'])


def head_of(case, sibling):
    p = case.params
    head = TSDBBoxHead(
        in_channels=case['x'].shape[1],
        roi_feat_size=p['roi_feat_size'],
        num_classes=p['num_classes'],
        fc_out_channels=p['fc_out_channels'],
        offset_channels=p['offset_hidden'],
        gamma=p['trans_std'],
        sampling_ratio=p['sample_per_part'],
        pool_mode=p['pooling'],
    )
    head = case.load(head, converter.head_name).train(sibling)
    # both the level rule with + 1 and the pooling are for exclusive boxes
    rois = move_ends(case['rois'], 1)
    extractor = SingleRoIExtractor(
        dict(type='RoIAlign', output_size=p['roi_feat_size']),
        case['x'].shape[1],
        p['featmap_strides'],
        p['finest_scale'],
    )
    at = pyramid_rois(extractor, case.levels('feat'), rois)
    sizes = rois if p['level_plus_one'] else case['rois']
    levels = extractor.map_roi_levels(sizes, len(p['featmap_strides']))
    x = case['x']
    outs = head(x, at._replace(levels=levels))
    delta_c, delta_r = head.offsets(x)
    move = tsd.shift_deltas(delta_r, head.bbox_coder.stds, p['trans_std'])
    results = {
        'tsd_cls_score': outs['cls_score'],
        # the head adds the translation
        'tsd_bbox_pred': outs['bbox_pred'] - move.repeat(1, p['num_classes']),
        'delta_c': delta_c,
        'delta_r': delta_r,
        'levels': levels,
    }
    if sibling:
        results['cls_score'] = outs['sibling_cls_score']
        results['bbox_pred'] = outs['sibling_bbox_pred']
    return case.results(results)


@adapter('tsd.head_train')
def head_train(case):
    return head_of(case, True)


@adapter('tsd.head_eval')
def head_eval(case):
    return head_of(case, False)


@adapter('tsd.losses')
def losses(case):
    p = case.params
    head = TSDBBoxHead(
        in_channels=1,
        num_classes=p['num_classes'],
        cls_pc_margin=p['cls_pc_margin'],
        loc_pc_margin=p['loc_pc_margin'],
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_stds=p['target_stds']
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=p['beta']),
    )
    counts = list(
        zip(case['num_pos'].tolist(), case['num_neg'].tolist(), strict=True)
    )
    rois = boxes_of(case, case['rois'])
    gts = move_ends(case['gt_bboxes'], p['plus_one'])
    by_image = rois[:, 1:].split([sum(pair) for pair in counts])
    labels = case['labels'].split([sum(pair) for pair in counts])
    gts = gts.split([pos for pos, _ in counts])
    sampled = [
        SimpleNamespace(
            pos_priors=boxes[:pos],
            neg_priors=boxes[pos:],
            pos_gt_bboxes=gt,
            pos_gt_labels=label[:pos],
        )
        for boxes, label, gt, (pos, _) in zip(
            by_image, labels, gts, counts, strict=True
        )
    ]
    move = tsd.shift_deltas(case['delta_r'], p['target_stds'], p['scale'])
    found = head.loss_and_target(
        case['tsd_cls_score'],
        case['tsd_bbox_pred'] + move.repeat(1, p['num_classes']),
        rois,
        sampled,
        ConfigDict(pos_weight=-1),
        sibling_cls_score=case['cls_score'],
        sibling_bbox_pred=case['bbox_pred'],
    )
    terms = {k: v for k, v in found['loss_bbox'].items() if 'loss' in k}
    targets = found['bbox_targets'][2]
    positive = case['labels'] < p['num_classes']
    total = sum(terms.values())
    outputs = {
        **terms,
        'loss_total': total,
        'bbox_targets': targets,
        'tsd_bbox_targets': targets - move * positive[:, None],
        **constraints(case, head, rois, torch.cat(gts), move, counts),
    }
    return case.results(outputs, total)


def constraints(case, head, rois, gts, move, counts):
    """The terms whose means are the losses, image by image."""
    p, labels = case.params, case['labels']
    index = labels[:, None]
    lack = tsd.deficit(
        case['cls_score'].softmax(1).gather(1, index)[:, 0],
        case['tsd_cls_score'].softmax(1).gather(1, index)[:, 0],
        p['cls_pc_margin'],
    ).split([sum(pair) for pair in counts])
    deltas = case['tsd_bbox_pred'] + move.repeat(1, p['num_classes'])
    positive = labels < p['num_classes']
    lack_loc = tsd.deficit(
        *(
            bbox_overlaps(
                head.bbox_coder.decode(
                    rois[positive, 1:],
                    own_columns(each, labels)[positive],
                ),
                gts,
                is_aligned=True,
                eps=1.0,
            )
            for each in (case['bbox_pred'], deltas)
        ),
        p['loc_pc_margin'],
    ).split([pos for pos, _ in counts])
    nothing = rois.new_zeros(1)
    return {
        name: torch.cat(
            [
                part if pos else nothing
                for part, (pos, _) in zip(parts, counts, strict=True)
            ]
        )
        for name, parts in (('pc_cls', lack), ('pc_loc', lack_loc))
    }


@adapter('tsd.inference_boxes')
def inference_boxes(case):
    p = case.params
    rois = boxes_of(case, case['rois'])
    coder = DeltaXYWHBBoxCoder(target_stds=p['target_stds'])
    move = tsd.shift_deltas(case['delta_r'], p['target_stds'], p['scale'])
    last = [side - p['plus_one'] for side in p['img_shape']]
    moved = torch.cat((rois[:, :1], coder.decode(rois[:, 1:], move)), 1)
    deltas = case['tsd_bbox_pred'] + move.repeat(1, p['num_classes'])
    boxes = coder.decode(rois[:, 1:], deltas).view(-1, 4)
    boxes = move_ends(boxes, -p['plus_one'])
    limit = boxes.new_tensor([*last[::-1], *last[::-1]])
    boxes = torch.minimum(boxes.clamp(min=0), limit)
    return case.results(
        {
            'rois_r': move_ends(moved, -p['plus_one']),
            'bboxes': boxes.view(len(rois), -1),
        }
    )
