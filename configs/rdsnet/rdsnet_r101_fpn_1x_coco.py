# RDSNet R-101, 1x: box AP 38.7, mask AP 34.1 on val (minival) in the official
# README.
# 4 GPUs x 2 images, lr 0.005.
_base_ = './rdsnet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
