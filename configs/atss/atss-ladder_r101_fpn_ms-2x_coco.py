# Official zoo, R-101, 2x, multi-scale: AP 43.5 on val, 43.6 on test-dev.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
