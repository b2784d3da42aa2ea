# PyConvHGResNet-101 under Faster R-CNN; the paper has no such row.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './pyconv-hg_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='checkpoints/pyconvhgresnet101.pth'),
    )
)
mini = dict(model=dict(backbone=dict(depth=50)))
