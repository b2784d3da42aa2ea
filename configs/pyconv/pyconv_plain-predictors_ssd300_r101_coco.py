# PyConvSSD with the predictors of SSD, on PyConvResNet-101.
# 8 GPUs x 8 images, lr 0.002.
_base_ = './pyconv_plain-predictors_ssd300_r50_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='checkpoints/pyconvresnet101.pth'),
    )
)
mini = dict(model=dict(backbone=dict(depth=18)))
