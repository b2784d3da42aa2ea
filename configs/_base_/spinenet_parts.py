"""What the configs of SpineNet share."""

custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
spinenet_norm = dict(type='SyncBN', momentum=0.01, eps=1e-3)
spinenet_49 = dict(
    _delete_=True, type='SpineNet', arch='49', norm_cfg=spinenet_norm
)
spinenet_head = dict(
    type='SpineNetHead',
    norm_cfg=spinenet_norm,
    loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=0.11),
)
spinenet_assigner = dict(
    assigner=dict(
        _delete_=True,
        type='BatchMaxIoUAssigner',
        pos_iou_thr=0.5,
        neg_iou_thr=0.5,
    )
)

# Protocol B in the port: 8 GPUs x 8 images. Officially 256 images, lr 0.28 and
# 2000 iterations of warm-up, which scales to the same.
spinenet_warmup = dict(
    type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=8000
)
spinenet_steps = dict(
    type='MultiStepLR', by_epoch=True, milestones=[320, 340], end=350
)
spinenet_sgd = dict(
    optimizer=dict(lr=0.07, weight_decay=4e-5),
    clip_grad=dict(max_norm=10, norm_type=2),
    paramwise_cfg=dict(norm_decay_mult=0, bypass_duplicate=True),
)

# The official code where the port differs. Variance scaling; the Huber loss
# has delta 0.1 and weight 50, is divided by 4 coordinates, and is delta times
# the smooth L1 loss of this beta: 50 / 4 * 0.1.
spinenet_tf_norm = dict(momentum=0.003, eps=1e-4)
spinenet_tf_backbone = dict(
    norm_cfg=spinenet_tf_norm,
    endpoint_act=True,
    same_pad_pool=True,
    zero_init_residual=False,
    init_cfg=[
        dict(type='Kaiming', layer='Conv2d', a=1, mode='fan_in',
             nonlinearity='leaky_relu'),
        dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
    ],
)  # fmt: skip
spinenet_tf_head = dict(
    norm_cfg=spinenet_tf_norm,
    anchor_generator=dict(center_offset=0.5),
    loss_cls=dict(gamma=1.5),
    loss_bbox=dict(beta=0.1, loss_weight=1.25),
)
spinenet_tf_test = dict(nms_pre=5000)
# Protocol C.
spinenet_swish = dict(type='SiLU')
spinenet_c_backbone = dict(
    act_cfg=spinenet_swish, drop_connect_rate=0.2, **spinenet_tf_backbone
)
spinenet_c_head = dict(act_cfg=spinenet_swish, **spinenet_tf_head)
spinenet_c_sgd = dict(paramwise_cfg=dict(bias_decay_mult=0))

# Boxes of the ports' weights (mmdet 1.x), as exclusive corners.
spinenet_released_anchors = dict(
    anchor_generator=dict(type='MMDetV1AnchorGenerator', center_offset=0.5)
)
spinenet_released_rois = dict(roi_layer=dict(aligned=False, sampling_ratio=2))

# At small scale: a quarter of the width, one block per node. Multiples of 128
# are what 320x240 becomes by padding.
spinenet_mini_norm = dict(_delete_=True, type='BN')
spinenet_mini_backbone = dict(
    width=0.25,
    repeats=1,
    out_channels=64,
    stem_channels=16,
    norm_cfg=spinenet_mini_norm,
)
spinenet_mini_head = dict(
    in_channels=64,
    feat_channels=64,
    stacked_convs=2,
    norm_cfg=spinenet_mini_norm,
)
_scale = (320, 240)
_test = dict(dataset=dict(pipeline={'1': dict(scale=_scale)}))
_mini_images = dict(data_preprocessor=dict(batch_augments=None))
_mini_train = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=_scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
spinenet_mini = dict(
    model=dict(
        backbone=spinenet_mini_backbone,
        bbox_head=spinenet_mini_head,
        **_mini_images,
    ),
    train_dataloader=dict(dataset=dict(pipeline=_mini_train)),
    val_dataloader=_test,
    test_dataloader=_test,
)
# R-50-FPN as wide and deep as SpineNet-49 is there.
_plain = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        stem_channels=16,
        base_channels=16,
        norm_eval=False,
    ),
    neck=dict(
        in_channels=[64, 128, 256, 512],
        out_channels=64,
        norm_cfg=spinenet_mini_norm,
    ),
    bbox_head=spinenet_mini_head,
    **_mini_images,
)
spinenet_plain_mini = dict(spinenet_mini, model=_plain)
