# CSPResNet-50 in the form of timm's weights under RetinaNet; the paper has no
# such row. 8 GPUs x 2 images, lr 0.01.
_base_ = './cspnet_retinanet_r50_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    backbone=dict(
        variant='mmpretrain',
        init_cfg=dict(checkpoint='checkpoints/cspresnet50-mmpretrain.pth'),
    ),
)
