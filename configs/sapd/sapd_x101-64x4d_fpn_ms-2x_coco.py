# SAPD X-101-64x4d, multi-scale: AP 45.4 on test-dev in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r101_fpn_ms-2x_coco.py'
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
