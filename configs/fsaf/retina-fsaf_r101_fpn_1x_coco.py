# FSAF joint, R-101 1x: AP 39.3 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './retina-fsaf_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
