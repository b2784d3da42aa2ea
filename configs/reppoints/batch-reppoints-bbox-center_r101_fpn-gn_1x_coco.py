# Boxes instead of points, no anchors, R-101. 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-bbox-center_r50_fpn-gn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
