# SpineNet-49 under RetinaNet at 640, protocol B: AP 42.8 on val officially,
# 42.7 and 42.1 in the ports. 8 GPUs x 8 images, lr 0.07.
_base_ = [
    'mmdet::nas_fpn/retinanet_r50_fpn_crop640-50e_coco.py',
    '../_base_/spinenet_parts.py',
]
train_pipeline = _base_.train_pipeline
train_pipeline[2].ratio_range = (0.5, 2.0)
model = dict(
    data_preprocessor=dict(pad_size_divisor=128),
    backbone=_base_.spinenet_49,
    neck=None,
    train_cfg=_base_.spinenet_assigner,
    bbox_head=dict(
        anchor_generator=dict(octave_base_scale=3), **_base_.spinenet_head
    ),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=350)
param_scheduler = [_base_.spinenet_warmup, _base_.spinenet_steps]
optim_wrapper = _base_.spinenet_sgd
mini = _base_.spinenet_mini
small = dict(train_cfg=dict(max_epochs=12))  # from random weights
