# CSPResNet-50 under YOLOv3; the paper has no such row. mmdet's Darknet-53:
# 30.9. 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet_yolov3_x50-32x4d_ms-416-273e_coco.py'
model = dict(
    backbone=dict(
        type='CSPResNet',
        init_cfg=dict(checkpoint='checkpoints/csresnet50.pth'),
    ),
    neck=dict(in_channels=[1024, 512, 256]),
)
mini = dict(
    model=dict(backbone=dict(groups=1), neck=dict(in_channels=[128, 64, 32]))
)
