# SpineNet-49 under Mask R-CNN at 640: AP 42.8, masks 37.8 on val officially,
# 43.3 and 37.8 in a port. 8 GPUs x 8 images, lr 0.07.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/spinenet_mask_parts.py',
]
train_pipeline = _base_.spinenet_mask_train
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (640, 640)
pad = [dict(type='BatchFixedSizePad', size=(640, 640), pad_mask=True)]
model = dict(
    data_preprocessor=dict(pad_size_divisor=128, batch_augments=pad),
    backbone=_base_.spinenet_49,
    neck=None,
    rpn_head=_base_.spinenet_rpn,
    roi_head=_base_.spinenet_rois,
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
train_cfg = dict(max_epochs=350)
param_scheduler = [_base_.spinenet_warmup, _base_.spinenet_steps]
optim_wrapper = _base_.spinenet_mask_sgd
auto_scale_lr = dict(base_batch_size=64)
mini = _base_.spinenet_mask_mini
