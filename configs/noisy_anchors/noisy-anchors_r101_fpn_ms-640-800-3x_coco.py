# Noisy Anchors R-101, 3x: AP 42.0 on val in the official repository
# (RetinaNet: 39.9).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './noisy-anchors_r50_fpn_ms-640-800-3x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
