# SpineNet-190 under Mask R-CNN at 1536, protocol C with scales from 0.1: AP
# 52.0, masks 45.9 on val. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_mask-rcnn_49_640-350e_coco.py'
size = (1536, 1536)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(scale=size, ratio_range=(0.1, 2.0))
train_pipeline[3].crop_size = size
test_pipeline[1].scale = size
pad = [dict(type='BatchFixedSizePad', size=size, pad_mask=True)]
model = dict(
    data_preprocessor=dict(batch_augments=pad),
    backbone=_base_.spinenet_190_backbone,
    rpn_head=_base_.spinenet_190_rpn,
    roi_head=_base_.spinenet_190_rois,
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=400)
steps = dict(_base_.spinenet_steps, milestones=[370, 390], end=400)
param_scheduler = [_base_.spinenet_warmup, steps]
