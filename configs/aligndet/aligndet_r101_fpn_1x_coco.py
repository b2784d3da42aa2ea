# AlignDet R-101, 1x: AP 39.8 on val (table 3). 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
