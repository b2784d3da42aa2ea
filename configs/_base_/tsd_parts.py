"""What the configs of TSD share: recipe and box head."""

# officially one epoch of warm-up, 3600 iterations of 32 images
_warmup = dict(
    type='LinearLR',
    start_factor=1 / 32,
    by_epoch=True,
    begin=0,
    end=1,
    convert_to_iter_based=True,
)
_steps = dict(type='MultiStepLR', begin=0, by_epoch=True, gamma=0.1)
tsd_schedule = [_warmup, dict(_steps, end=14, milestones=[9, 12])]
tsd_cascade_schedule = [_warmup, dict(_steps, end=21, milestones=[17, 20])]
tsd_optimizer = dict(clip_grad=dict(max_norm=35, norm_type=2))
tsd_head = dict(
    type='TSDBBoxHead',
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
)

# Boxes of the released weights (mmdet 1.x). Inclusive corners, [x1, x2] with
# sides x2 - x1 + 1, are [x1, x2 + 1] here: the same sides, and the same end
# of what its RoIAlign samples.
tsd_released_rpn = dict(
    anchor_generator=dict(type='MMDetV1AnchorGenerator', center_offset=0.5)
)
tsd_released_rois = dict(roi_layer=dict(aligned=False, sampling_ratio=2))
