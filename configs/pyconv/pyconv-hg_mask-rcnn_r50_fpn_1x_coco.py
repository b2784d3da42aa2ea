# PyConvHGResNet-50 under Mask R-CNN; the paper has no such row.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './pyconv_mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        type='PyConvHGResNet',
        init_cfg=dict(checkpoint='checkpoints/pyconvhgresnet50.pth'),
    )
)
# a level with 8 channels has at most 8 groups
mini = dict(
    model=dict(
        backbone=dict(
            base_channels=32,
            groups=((8, 8, 8, 8), (8, 16, 16), (8, 16), (8,)),
        )
    )
)
