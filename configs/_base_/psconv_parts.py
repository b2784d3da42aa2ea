"""What the configs of PSConv share: the official recipe and small forms."""

psconv_clip = dict(max_norm=35, norm_type=2)
psconv_schedule = [
    dict(
        type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500
    ),
    dict(
        type='MultiStepLR',
        begin=0,
        end=12,
        by_epoch=True,
        milestones=[8, 11],
        gamma=0.1,
    ),
]
# mmdet has these losses in the cascades, and L1 elsewhere
psconv_rpn_loss = dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)
psconv_box_loss = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)

# A quarter of the width, from random weights: nothing is frozen.
_backbone = dict(
    depth=50,
    base_channels=16,
    stem_channels=16,
    frozen_stages=-1,
    norm_eval=False,
)
psconv_mini = dict(
    backbone=_backbone,
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
)
psconv_mini_extractor = dict(out_channels=64)
psconv_mini_box_head = dict(in_channels=64, fc_out_channels=256)
psconv_mini_mask_head = dict(num_convs=2, in_channels=64, conv_out_channels=64)
psconv_mini_stages = {str(i): psconv_mini_box_head for i in range(3)}
psconv_mini_x = dict(model=dict(backbone=dict(groups=8)))

# Boxes of the released weights (mmdet 1.x). Inclusive corners, [x1, x2] with
# sides x2 - x1 + 1, are [x1, x2 + 1] here: the same sides, and the same end
# of what its RoIAlign samples.
psconv_released_rpn = dict(
    anchor_generator=dict(type='MMDetV1AnchorGenerator', center_offset=0.5)
)
psconv_released_rois = dict(roi_layer=dict(aligned=False, sampling_ratio=2))
