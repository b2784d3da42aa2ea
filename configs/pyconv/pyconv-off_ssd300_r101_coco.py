# SSD300 on ResNet-101. 8 GPUs x 8 images, lr 0.002.
_base_ = './pyconv-off_ssd300_r50_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='torchvision://resnet101'),
    )
)
mini = dict(model=dict(backbone=dict(depth=18)))
