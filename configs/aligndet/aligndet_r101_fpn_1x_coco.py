# AlignDet R-101: AP 42.0 on test-dev in the paper (from memory, unverified).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
