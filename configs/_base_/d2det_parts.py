"""What the configs of D2Det share: RoI head and schedule."""

d2det_pool = dict(
    _delete_=True,
    output_size=7,
    in_channels=256,
    fc_out_channels=1024,
    sampling_ratio=2,
)
d2det_roi_head = dict(
    type='D2DetRoIHead',
    bbox_roi_extractor=dict(
        type='DiscriminativeRoIExtractor', roi_layer=d2det_pool
    ),
    bbox_head=dict(with_reg=False, loss_cls=dict(loss_weight=2.0)),
    reg_roi_extractor=dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
        out_channels=256,
        featmap_strides=[4, 8, 16, 32],
    ),
    d2det_head=dict(type='D2DetHead', in_channels=256),
)
d2det_test = dict(
    score_thr=0.03,
    max_per_img=125,
    post_nms=dict(
        type='soft_nms', iou_threshold=0.5, method='linear', min_score=1e-3
    ),
    final_max=100,
)
d2det_instance_roi_head = dict(
    d2det_roi_head,
    mask_roi_extractor=None,
    mask_head=dict(_delete_=True, type='D2DetInstanceHead', num_classes=80),
)
d2det_instance_test = dict(nms=dict(iou_threshold=0.3))
d2det_schedule = [
    dict(
        type='LinearLR', start_factor=1 / 80, by_epoch=False, begin=0, end=1000
    ),
    dict(
        type='MultiStepLR',
        begin=0,
        end=24,
        by_epoch=True,
        milestones=[20, 23],
        gamma=0.1,
    ),
]
d2det_mini = dict(
    roi_head=dict(d2det_head=dict(conv_channels=72, num_convs=2))
)
d2det_instance_mini = dict(
    roi_head=dict(**d2det_mini['roi_head'], mask_head=dict(in_channels=72))
)

# Boxes of the released weights (mmdet 1.x). Inclusive corners, [x1, x2] with
# sides x2 - x1 + 1, are [x1, x2 + 1] here.
d2det_released_rpn = dict(
    anchor_generator=dict(type='MMDetV1AnchorGenerator', center_offset=0.5)
)
d2det_released_roi_head = dict(
    inclusive=True,
    bbox_roi_extractor=dict(roi_layer=dict(pool_mode='legacy')),
    reg_roi_extractor=dict(roi_layer=dict(aligned=False)),
)
