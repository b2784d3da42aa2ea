# CSPResNet-50 under RetinaNet; the paper has no such row.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './cspnet_retinanet_x50-32x4d_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        type='CSPResNet',
        init_cfg=dict(checkpoint='checkpoints/csresnet50.pth'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
mini = dict(
    model=dict(
        backbone=dict(groups=1), neck=dict(in_channels=[32, 64, 128, 256])
    )
)
