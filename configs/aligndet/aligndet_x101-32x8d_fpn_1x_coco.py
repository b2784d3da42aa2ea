# AlignDet X-101-32x8d, 1x. The paper has this backbone with a longer schedule
# only.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r101_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=32,
        base_width=8,
        init_cfg=dict(checkpoint='torchvision://resnext101_32x8d'),
    )
)
