# For the released R-101 checkpoint (AP 39.0 on val). Convert the file with
# `mmdet-assigners convert sampling_free` first.
_base_ = './sampling-free-released_retinanet_r50-caffe_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
