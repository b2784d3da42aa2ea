# TSD Mask R-CNN R-101: box AP 43.0, mask AP 37.2 on val in the paper.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './tsd_mask-rcnn_r50_fpn_14e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
