# RepPoints X-101-DCN, moment, 2x multi-scale: AP 45.6 on val2017 in the
# official repository, 46.8 with --tta. 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r101-dconv-c3-c5_fpn-gn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=32,
        base_width=4,
        init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'),
    )
)
