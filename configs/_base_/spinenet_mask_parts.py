"""What the configs of Mask R-CNN on SpineNet share."""

_base_ = './spinenet_parts.py'
_scale = (640, 640)
_norm = _base_.spinenet_norm
_strides = dict(featmap_strides=[8, 16, 32, 64])
_smooth_l1 = dict(_delete_=True, type='SmoothL1Loss')
spinenet_mask_train = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomResize',
        scale=_scale,
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size=_scale),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
spinenet_rpn = dict(
    anchor_generator=dict(scales=[3], strides=[8, 16, 32, 64, 128]),
    loss_bbox=dict(beta=1 / 9, **_smooth_l1),
)
spinenet_rois = dict(
    bbox_roi_extractor=_strides,
    mask_roi_extractor=_strides,
    bbox_head=dict(
        type='ConvFCBBoxHead',
        num_shared_convs=4,
        num_shared_fcs=1,
        norm_cfg=_norm,
        loss_bbox=dict(beta=1.0, **_smooth_l1),
    ),
    mask_head=dict(norm_cfg=_norm),
)
# SpineNet-190: 512 channels, RoI heads of seven convolutions with 384. The
# RPN of the official code has one convolution, whatever its num_convs says.
_wide = dict(out_channels=512)
_tower = dict(in_channels=512, conv_out_channels=384)
spinenet_190_backbone = dict(
    arch='190',
    act_cfg=_base_.spinenet_swish,
    drop_connect_rate=0.2,
    endpoint_act=True,
)
spinenet_190_rpn = dict(
    in_channels=512,
    feat_channels=384,
    anchor_generator=dict(scales=[5]),
)
spinenet_190_rois = dict(
    bbox_roi_extractor=_wide,
    mask_roi_extractor=_wide,
    bbox_head=dict(num_shared_convs=7, **_tower),
    mask_head=dict(num_convs=7, **_tower),
)
_sgd = _base_.spinenet_sgd
spinenet_mask_sgd = {k: v for k, v in _sgd.items() if k != 'clip_grad'}

_mini = _base_.spinenet_mini
_mini_norm = _base_.spinenet_mini_norm
_narrow = dict(out_channels=64)
_mini_train = [
    dict(t) for t in _mini['train_dataloader']['dataset']['pipeline']
]
_mini_train[1]['with_mask'] = True
spinenet_mask_mini = dict(
    _mini,
    model=dict(
        data_preprocessor=dict(batch_augments=None),
        backbone=_base_.spinenet_mini_backbone,
        rpn_head=dict(in_channels=64, feat_channels=64),
        roi_head=dict(
            bbox_roi_extractor=_narrow,
            mask_roi_extractor=_narrow,
            bbox_head=dict(
                in_channels=64,
                conv_out_channels=64,
                fc_out_channels=256,
                num_shared_convs=2,
                norm_cfg=_mini_norm,
            ),
            mask_head=dict(
                num_convs=2,
                in_channels=64,
                conv_out_channels=64,
                norm_cfg=_mini_norm,
            ),
        ),
    ),
    train_dataloader=dict(dataset=dict(pipeline=_mini_train)),
)
