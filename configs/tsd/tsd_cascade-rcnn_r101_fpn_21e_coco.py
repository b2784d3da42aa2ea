# TSD Cascade R-CNN R-101: AP 42.9 on val in the official README.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './tsd_cascade-rcnn_r50_fpn_21e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
