"""What the configs of RDSNet share: mask head, recipe, released boxes."""

rdsnet_norm = dict(type='GN', num_groups=32)
rdsnet_mask_head = dict(
    type='RDSMaskHead',
    in_channels=256,
    conv_out_channels=256,
    norm_cfg=rdsnet_norm,
)
_warmup = dict(
    type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500
)
_steps = dict(type='MultiStepLR', begin=0, by_epoch=True, gamma=0.1)
rdsnet_schedule_1x = [_warmup, dict(_steps, end=12, milestones=[8, 11])]
rdsnet_schedule_2x = [_warmup, dict(_steps, end=24, milestones=[16, 22])]
rdsnet_optimizer = dict(
    optimizer=dict(lr=0.005), clip_grad=dict(max_norm=35, norm_type=2)
)

# Boxes of the released weights (mmdet 1.x). Inclusive corners, [x1, x2] with
# sides x2 - x1 + 1, are [x1, x2 + 1] here.
rdsnet_released_anchors = dict(
    type='MMDetV1AnchorGenerator', center_offset=0.5
)
