# TSD Faster R-CNN R-152: AP 43.7 on val in the official README (43.9 in the
# paper).
# 8 GPUs x 2 images, lr 0.02.
_base_ = './tsd_faster-rcnn_r50_fpn_14e_coco.py'
model = dict(
    backbone=dict(
        depth=152,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152'),
    )
)
