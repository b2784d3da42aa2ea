# BorderDet X-101-32x8d, 2x, shorter side 640 or 800: AP 45.6 on val (official
# model zoo). 8 GPUs x 2 images, lr 0.01.
_base_ = './borderdet_r101-caffe_fpn_ms-2x_coco.py'
model = dict(
    data_preprocessor=dict(std=[57.375, 57.120, 58.395]),
    backbone=dict(
        type='ResNeXt',
        groups=32,
        base_width=8,
        style='pytorch',
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnext101_32x8d'),
    ),
)
