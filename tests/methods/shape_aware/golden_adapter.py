"""Golden ops of shape-aware RoI features."""

from golden_runner import adapter

from mmdet_assigners.methods.shape_aware import (
    DSCBBoxHead,
    RelativeRoIExtractor,
    ShapeGuidedRoIExtractor,
)
from mmdet_assigners.methods.shape_aware import functional as shape
from mmdet_assigners.methods.shape_aware.heads import fuse


@adapter('shape_aware.sg_roialign')
def sg_roialign(case):
    p = case.params
    feats = case.levels('feat')
    extractor = ShapeGuidedRoIExtractor(
        dict(
            type='RoIAlign',
            output_size=tuple(p['out_size']),
            sampling_ratio=p['sampling_ratio'],
            aligned=p['aligned'],
        ),
        feats[0].shape[1],
        p['strides'],
        p['finest_scale'],
        mode=p['mode'],
    )
    rois = case['rois']
    found = extractor(feats, rois, masks=case['mask_logits'])
    levels = extractor.map_roi_levels(rois, len(feats))
    scalar = (found * case['cotangent']).sum()
    return case.results({'roi_feats': found, 'levels': levels}, scalar)


@adapter('shape_aware.relative_roi_features')
def relative_roi_features(case):
    p = case.params
    feats = case['feats_prev']
    enlarged_prev = shape.enlarge(case['rois_prev'], p['enlarge_prev'])
    enlarged = shape.enlarge(case['rois'], p['enlarge'])
    if p['clip_to_image']:  # its size is not given
        low = enlarged.new_zeros(2)
        high = enlarged.new_full((2,), float('inf'))
        enlarged_prev = shape.clip_rois(enlarged_prev, low, high)
        enlarged = shape.clip_rois(enlarged, low, high)
    extractor = RelativeRoIExtractor(
        dict(type='RoIAlign', output_size=tuple(p['out_size'])),
        feats.shape[1],
    )
    aligned = extractor(feats, enlarged, enlarged_prev)
    size = tuple(feats.shape[-2:])
    outputs = {
        'enlarged_prev': enlarged_prev,
        'enlarged': enlarged,
        'relative_rois': shape.relative_rois(enlarged, enlarged_prev, size),
        'aligned_feats': aligned,
    }
    return case.results(outputs, (aligned * case['cotangent']).sum())


@adapter('shape_aware.feature_fusion')
def feature_fusion(case):
    p = case.params
    head = DSCBBoxHead(
        in_channels=case['x'].shape[1],
        num_classes=1,
        res_norm_cfg=dict(type='BN', eps=p['bn_eps']),
    )
    name = 'conv_res.'
    layer = case.load(head.conv_res, lambda key: key.removeprefix(name))
    layer.train(p['bn_mode'] == 'train')
    fused = fuse(case['x'], case['mask_feat'], layer)
    return case.results({'fused': fused})
