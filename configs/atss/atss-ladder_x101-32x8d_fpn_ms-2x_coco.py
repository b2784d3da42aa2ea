# Official zoo, X-101-32x8d, 2x, multi-scale: AP 44.8 on val, 45.1 on test-dev.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r101_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=32,
        base_width=8,
        init_cfg=dict(checkpoint='torchvision://resnext101_32x8d'),
    )
)
