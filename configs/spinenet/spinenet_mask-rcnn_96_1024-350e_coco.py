# SpineNet-96 under Mask R-CNN at 1024: AP 46.8, masks 41.2 on val officially,
# 47.0 and 41.2 in a port. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_mask-rcnn_49_640-350e_coco.py'
size = (1024, 1024)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = size
train_pipeline[3].crop_size = size
test_pipeline[1].scale = size
pad = [dict(type='BatchFixedSizePad', size=size, pad_mask=True)]
model = dict(
    data_preprocessor=dict(batch_augments=pad),
    backbone=dict(arch='96'),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
