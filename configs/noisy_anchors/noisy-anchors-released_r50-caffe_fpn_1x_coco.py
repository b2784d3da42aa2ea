# For the released R-50 checkpoint (AP 38.6): Caffe-style backbone and input,
# ReLU before P7, sides bounded above only. Convert the file with
# `mmdet-assigners convert noisy_anchors` first.
_base_ = './noisy-anchors_r50_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[103.530, 116.280, 123.675],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    backbone=dict(norm_cfg=dict(requires_grad=False), style='caffe'),
    neck=dict(relu_before_extra_convs=True),
    bbox_head=dict(bbox_coder=dict(add_ctr_clamp=True, ctr_clamp=1e8)),
)
