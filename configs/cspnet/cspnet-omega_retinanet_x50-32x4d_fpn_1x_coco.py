# CSPResNeXt-50 with Mish (csresnext50-omega.cfg) under RetinaNet; the paper
# has no such row. 8 GPUs x 2 images, lr 0.01.
_base_ = './cspnet_retinanet_x50-32x4d_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        act_cfg=dict(type='Mish'),
        init_cfg=dict(checkpoint='checkpoints/csresnext50-omega.pth'),
    )
)
