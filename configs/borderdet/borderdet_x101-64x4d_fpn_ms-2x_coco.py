# BorderDet X-101-64x4d, 2x, shorter side 640 or 800: AP 46.2 on val (official
# model zoo). 8 GPUs x 2 images, lr 0.01.
_base_ = './borderdet_r101-caffe_fpn_ms-2x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='ResNeXt',
        groups=64,
        base_width=4,
        style='pytorch',
        init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'),
    ),
)
