"""Golden ops of RepPoints."""

import torch
from golden_runner import adapter

from mmdet_assigners.methods.reppoints.head import BatchRepPointsHead


def build(params, channels, kind=BatchRepPointsHead):
    norm = dict(type='GN', num_groups=params['gn_groups'])
    return kind(
        num_classes=params['num_classes'],
        in_channels=channels,
        feat_channels=params['feat_channels'],
        point_feat_channels=params['point_feat_channels'],
        stacked_convs=params['stacked_convs'],
        num_points=params['num_points'],
        norm_cfg=norm,
        gradient_mul=params['gradient_mul'],
        point_base_scale=params['point_base_scale'],
        use_grid_points=params['use_grid_points'],
        center_init=params['center_init'],
        transform_method=params['transform_method'],
        moment_mul=params['moment_mul'],
    )


@adapter('reppoints.head')
def head(case):
    module = case.load(build(case.params, case['x'].shape[1]))
    cls, first, refined = module.forward_single(case['x'])
    return case.results(
        {
            'cls_out': cls,
            'pts_init': first,
            'pts_refine': refined,
            'bbox_init': module.points2bbox(first),
            'bbox_refine': module.points2bbox(refined),
        }
    )


@adapter('reppoints.points2bbox')
def points2bbox(case):
    p = case.params
    module = BatchRepPointsHead(
        num_classes=1,
        in_channels=1,
        feat_channels=1,
        point_feat_channels=1,
        num_points=p['num_points'],
        transform_method=p['transform_method'],
        moment_mul=p['moment_mul'],
    ).double()
    case.module = module
    if case.weights:
        case.renames = {'moment_transfer': 'moment_transfer'}
        with torch.no_grad():
            module.moment_transfer.copy_(case.weights['moment_transfer'])
    boxes = module.points2bbox(case['points'], y_first=False)
    return case.results({'bbox': boxes})
