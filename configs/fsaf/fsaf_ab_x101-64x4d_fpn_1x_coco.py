# RetinaNet, X-101-64x4d 1x: AP 39.8 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fsaf_ab_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=64,
        base_width=4,
        init_cfg=dict(
            type='Pretrained', checkpoint='open-mmlab://resnext101_64x4d'
        ),
    )
)
