# SpineNet-143 under Mask R-CNN at 1280: AP 48.7, masks 42.6 on val.
# 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_mask-rcnn_49_640-350e_coco.py'
size = (1280, 1280)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = size
train_pipeline[3].crop_size = size
test_pipeline[1].scale = size
pad = [dict(type='BatchFixedSizePad', size=size, pad_mask=True)]
model = dict(
    data_preprocessor=dict(batch_augments=pad),
    backbone=dict(arch='143'),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
