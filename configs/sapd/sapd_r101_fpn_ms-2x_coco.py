# SAPD R-101, 24 epochs, multi-scale: AP 43.5 on test-dev in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
