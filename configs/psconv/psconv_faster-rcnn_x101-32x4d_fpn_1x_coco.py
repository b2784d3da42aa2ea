# Faster R-CNN, PS-ResNeXt-101 32x4d, masked as officially. AP on val
# 41.3 in the official repository. 8 GPUs x 2 images, lr 0.02.
_base_ = './psconv_faster-rcnn_r50_fpn_1x_coco.py'
_init = dict(checkpoint='open-mmlab://resnext101_32x4d')
model = dict(
    backbone=dict(
        type='PSResNeXt', depth=101, groups=32, base_width=4, init_cfg=_init
    )
)
mini = _base_.psconv_mini_x
