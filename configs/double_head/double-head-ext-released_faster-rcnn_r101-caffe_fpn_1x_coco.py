# For the released R-101 checkpoint (AP 41.9 on val). Convert the file with
# `mmdet-assigners convert double_head` first.
_base_ = './double-head-ext-released_faster-rcnn_r50-caffe_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
