# For the released Cascade R-CNN R-101 (AP 42.9 on val). Convert the file with
# `mmdet-assigners convert tsd` first.
_base_ = './tsd-released_cascade-rcnn_r50_fpn_21e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
