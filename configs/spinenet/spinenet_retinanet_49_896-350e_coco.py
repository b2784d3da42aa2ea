# SpineNet-49 under RetinaNet at 896, protocol B: AP 45.3 in the paper, 44.9 in
# a port, val. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_retinanet_49_640-350e_coco.py'
size = (896, 896)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = size
train_pipeline[3].crop_size = size
test_pipeline[1].scale = size
pad = [dict(type='BatchFixedSizePad', size=size)]
model = dict(
    data_preprocessor=dict(batch_augments=pad),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
