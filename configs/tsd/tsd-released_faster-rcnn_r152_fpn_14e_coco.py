# For the released R-152 checkpoint (AP 43.7 on val). Convert the file with
# `mmdet-assigners convert tsd` first.
_base_ = './tsd-released_faster-rcnn_r50_fpn_14e_coco.py'
model = dict(
    backbone=dict(
        depth=152,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152'),
    )
)
