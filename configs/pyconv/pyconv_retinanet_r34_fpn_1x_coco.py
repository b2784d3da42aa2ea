# PyConvResNet-34, of the official code alone and without released weights,
# under RetinaNet.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './pyconv_retinanet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=34,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
mini = dict(model=dict(neck=dict(in_channels=[16, 32, 64, 128])))
