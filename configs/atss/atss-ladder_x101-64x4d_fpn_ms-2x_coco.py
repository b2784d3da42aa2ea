# Official zoo, X-101-64x4d, 2x, multi-scale: AP 45.5 on val, 45.6 on test-dev.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r101_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=64,
        base_width=4,
        init_cfg=dict(
            checkpoint='torchvision://resnext101_64x4d.imagenet1k_v1'
        ),
    )
)
