# CSPResNet50-PANet-SPP at 512, with YOLOv3's loss; officially 38.0 on
# test-dev, with Darknet's training. 8 GPUs x 8 images, lr 0.001.
_base_ = './cspnet-panet-spp_yolov3_x50-32x4d_ms-512-273e_coco.py'
model = dict(
    backbone=dict(
        type='CSPResNet',
        init_cfg=dict(checkpoint='checkpoints/csresnet50.pth'),
    ),
    neck=dict(in_channels=[256, 512, 1024]),
)
mini = dict(
    model=dict(backbone=dict(groups=1), neck=dict(in_channels=[32, 64, 128]))
)
