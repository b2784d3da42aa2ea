"""What the configs of Hit-Detector share.

The search is ours where the paper gives no number: weights of the constraints,
learning rates, epochs.
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

# Small form of a search, which computes all candidates: fewer of them, half of
# these channels and of the sides of the images, an eighth of the RoIs; and few
# iterations, in which the logits have to move faster.
_half = [8] + [6] * 4 + [12] * 4 + [24] * 4 + [32] * 4 + [44] * 4
_image = dict(scale=(160, 120))
_test_loader = dict(dataset=dict(pipeline={'1': _image}))
hit_mini_search = dict(
    model=dict(
        backbone=dict(
            candidates=[
                'skip',
                'ir_k3_e1',
                'ir_k3_e3',
                'ir_k3_e3_r2',
                'ir_k3_e6',
                'ir_k5_e3',
                'ir_k5_e6_r2',
                'ir_k7_e6',
            ],
            with_cp=False,
            out_channels=[*_half, 128, 256],
        ),
        neck=dict(
            candidates=[
                'conv_1x1',
                'ir_k3_e6',
                'ir_k5_e6_d3',
                'sd_k3_d1',
                'sd_k3_d3',
                'sd_k5_d2',
            ],
            with_cp=False,
            in_channels=[6, 12, 32, 256],
            out_channels=24,
        ),
        rpn_head=dict(
            in_channels=24,
            feat_channels=24,
            anchor_generator=dict(scales=[4]),
        ),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=24),
            bbox_head=dict(
                candidates=[
                    'ir_k3_e1',
                    'ir_k3_e3',
                    'ir_k3_e6_r2',
                    'ir_k5_e3',
                    'ir_k5_e6',
                    'ir_k7_e6',
                ],
                with_cp=False,
                in_channels=24,
            ),
        ),
        train_cfg=dict(rcnn=dict(sampler=dict(num=16))),
    ),
    train_dataloader=dict(dataset=dict(pipeline={'2': _image})),
    val_dataloader=_test_loader,
    test_dataloader=_test_loader,
    optim_wrapper=dict(
        optimizer=dict(fused=True), arch=dict(optimizer=dict(lr=1e-2))
    ),
    custom_hooks={'0': dict(keep=dict(backbone=4, neck=3, head=3))},
)
