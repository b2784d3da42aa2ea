# SpineNet-143 under RetinaNet at 1280, protocol B: AP 48.0 on val officially,
# 49.2 in a port. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_retinanet_49_640-350e_coco.py'
size = (1280, 1280)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = size
train_pipeline[3].crop_size = size
test_pipeline[1].scale = size
pad = [dict(type='BatchFixedSizePad', size=size)]
model = dict(
    data_preprocessor=dict(batch_augments=pad),
    backbone=dict(arch='143'),
    bbox_head=dict(anchor_generator=dict(octave_base_scale=4)),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
