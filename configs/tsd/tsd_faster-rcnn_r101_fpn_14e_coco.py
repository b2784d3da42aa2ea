# TSD Faster R-CNN R-101: AP 42.3 on val in the official README (42.4 in the
# paper).
# 8 GPUs x 2 images, lr 0.02.
_base_ = './tsd_faster-rcnn_r50_fpn_14e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
