"""What the configs of shape-aware features share: parts of the RoI heads."""

_align = dict(out_channels=256, featmap_strides=[4, 8, 16, 32])
_align7 = dict(type='RoIAlign', output_size=7, sampling_ratio=0)
_align14 = dict(type='RoIAlign', output_size=14, sampling_ratio=0)
shape_guided7 = dict(
    type='ShapeGuidedRoIExtractor', roi_layer=_align7, **_align
)
shape_guided14 = dict(
    type='ShapeGuidedRoIExtractor', roi_layer=_align14, **_align
)

_assigner = dict(
    type='MaxIoUAssigner',
    match_low_quality=False,
    ignore_iof_thr=-1,
)
_assigners = [
    dict(_assigner, pos_iou_thr=thr, neg_iou_thr=thr, min_pos_iou=thr)
    for thr in (0.5, 0.6, 0.7)
]
_random = dict(
    type='RandomSampler',
    num=512,
    pos_fraction=0.25,
    neg_pos_ub=-1,
    add_gt_as_proposals=True,
)
_rest = dict(mask_size=28, pos_weight=-1, debug=False)

# Mask Refining R-CNN: the second stage
refine_rcnn = dict(_rest, assigner=_assigners[1], sampler=_random)
refine_coder = dict(
    type='DeltaXYWHBBoxCoder', target_stds=[0.05, 0.05, 0.1, 0.1]
)
refine_loss_bbox = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)

# DSC
_mask_head = dict(
    type='DSCMaskHead',
    num_convs=4,
    in_channels=256,
    conv_out_channels=256,
    num_classes=80,
    loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
)
_box_head = dict(
    type='DSCBBoxHead',
    in_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
)
dsc_roi_head = dict(
    num_stages=3,
    stage_loss_weights=[1, 1, 1],
    mpn_roi_extractor=dict(
        type='SingleRoIExtractor', roi_layer=_align14, **_align
    ),
    mpn=[
        dict(_mask_head, class_agnostic=True, with_conv_res=stage > 0)
        for stage in range(3)
    ],
    relative_roi_extractor=dict(
        type='RelativeRoIExtractor', roi_layer=_align14, out_channels=256
    ),
    bbox_roi_extractor=shape_guided7,
    bbox_head=[
        dict(
            _box_head,
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder', target_stds=[xy, xy, wh, wh]
            ),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=weight),
        )
        for xy, wh, weight in (
            (0.1, 0.2, 1.0),
            (0.05, 0.1, 0.5),
            (0.033, 0.067, 0.5),
        )
    ],
    mask_head=dict(_mask_head, _delete_=True),
)
_pseudo = dict(type='PseudoSampler')
dsc_rcnn = [
    dict(_rest, assigner=_assigners[0], sampler=_random),
    dict(_rest, assigner=_assigners[1], sampler=_pseudo),
    dict(_rest, assigner=_assigners[2], sampler=_pseudo),
    dict(_rest, assigner=_assigners[2], sampler=_pseudo),
]
# F-DSC: mask proposals at half the resolution
fast_rcnn = [dict(one, mask_size=14) for one in dsc_rcnn[:3]] + dsc_rcnn[3:]
