# Double-Head-Ext R-101, 1x: AP 41.9 on val in the official repository.
# 8 GPUs x 2 images, lr 0.02 (official: 8 images, lr 0.01, twice the steps).
_base_ = './double-head-ext_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
