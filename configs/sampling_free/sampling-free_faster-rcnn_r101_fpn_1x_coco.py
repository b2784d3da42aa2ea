# Sampling-Free Faster R-CNN R-101, 1x: AP 40.3 on val in the official
# repository (39.1 with sampling).
# 8 GPUs x 2 images, lr 0.02.
_base_ = './sampling-free_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
