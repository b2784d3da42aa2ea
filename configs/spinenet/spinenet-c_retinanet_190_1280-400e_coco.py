# SpineNet-190 under RetinaNet at 1280, protocol C of 400 epochs: AP 52.0 on
# val. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet-c_retinanet_143_1280-500e_coco.py'
model = dict(
    backbone=dict(arch='190'),
    bbox_head=dict(in_channels=512, feat_channels=512, stacked_convs=7),
)
train_cfg = dict(max_epochs=400)
steps = dict(_base_.spinenet_steps, milestones=[370, 390], end=400)
param_scheduler = [_base_.spinenet_warmup, steps]
