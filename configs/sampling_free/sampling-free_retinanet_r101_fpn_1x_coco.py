# Sampling-Free RetinaNet R-101, 1x: AP 39.0 on val, 39.1 on test-dev in the
# official repository (focal loss: 38.5 on val).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sampling-free_retinanet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
