# SAPD X-101-32x4d, 24 epochs, multi-scale: AP 44.5 on test-dev in the paper.
# 8 GPUs x 2 images, lr 0.01. torchvision has no such weights: before training
# set model.backbone.init_cfg to your own ImageNet checkpoint.
_base_ = './sapd_r101_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(type='ResNeXt', groups=32, base_width=4, init_cfg=None)
)
