# Double-Head R-101, 1x, the network of the paper.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './double-head_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
