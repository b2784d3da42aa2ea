# R-50-FPN under RetinaNet at 640 from random weights, protocol B: AP 40.4 on
# val officially. 8 GPUs x 8 images, lr 0.07.
_base_ = [
    'mmdet::nas_fpn/retinanet_r50_fpn_crop640-50e_coco.py',
    '../_base_/spinenet_parts.py',
]
train_pipeline = _base_.train_pipeline
train_pipeline[2].ratio_range = (0.5, 2.0)
norm = _base_.spinenet_norm
model = dict(
    data_preprocessor=dict(pad_size_divisor=128),
    backbone=dict(frozen_stages=-1, init_cfg=None, norm_cfg=norm),
    neck=dict(norm_cfg=norm),
    bbox_head=_base_.spinenet_head,
    train_cfg=_base_.spinenet_assigner,
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=350)
param_scheduler = [_base_.spinenet_warmup, _base_.spinenet_steps]
optim_wrapper = _base_.spinenet_sgd
mini = _base_.spinenet_plain_mini
small = dict(train_cfg=dict(max_epochs=12))  # from random weights
