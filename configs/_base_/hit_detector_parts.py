"""What the configs of Hit-Detector share.

The search is ours where the paper gives no number: weights of the constraints,
learning rates, epochs, size of the images.
"""

hit_norm = dict(type='SyncBN', requires_grad=True)
hit_backbone = dict(
    type='HitBackbone',
    norm_cfg=hit_norm,
    init_cfg=dict(
        type='Pretrained', checkpoint='checkpoints/hit-detector_backbone.pth'
    ),
)
hit_neck = dict(
    type='HitPAFPN',
    in_channels=[48, 96, 256, 2048],
    out_channels=256,
    num_outs=5,
    norm_cfg=hit_norm,
)
hit_head = dict(
    type='HitBBoxHead',
    fc_out_channels=512,
    norm_cfg=hit_norm,
    loss_bbox=dict(
        _delete_=True, type='SmoothL1Loss', beta=1.0, loss_weight=1.0
    ),
)
hit_rpn_loss = dict(
    _delete_=True, type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0
)
hit_clip = dict(max_norm=35, norm_type=2)

# two optimizers; the logits have no schedule
hit_optimizers = dict(
    constructor='ArchOptimWrapperConstructor',
    clip_grad=hit_clip,
    arch=dict(
        optimizer=dict(
            type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3
        )
    ),
)
hit_search_schedule = dict(
    _delete_=True,
    weights=[
        dict(
            type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=800
        ),
        dict(
            type='CosineAnnealingLR',
            begin=0,
            end=12,
            T_max=12,
            by_epoch=True,
            convert_to_iter_based=True,
        ),
    ],
    arch=[],
)
# Small form: a quarter of the channels, BN, from random weights.
_bn = dict(type='BN', requires_grad=True)
_widths = [8] + [12] * 4 + [24] * 4 + [46] * 4 + [64] * 4 + [88] * 4
hit_mini_model = dict(
    backbone=dict(norm_cfg=_bn, out_channels=[*_widths, 256, 512]),
    neck=dict(norm_cfg=_bn, in_channels=[12, 24, 64, 512], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(norm_cfg=_bn, in_channels=64, fc_out_channels=128),
    ),
)
mini = dict(model=hit_mini_model)
