# For the released R-101 checkpoint (AP 42.3 on val). Convert the file with
# `mmdet-assigners convert tsd` first.
_base_ = './tsd-released_faster-rcnn_r50_fpn_14e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
