# For the released R-50 checkpoint (AP 39.3): Caffe-style backbone and input,
# biases in the towers, anchors and boxes with inclusive corners, ReLU before
# P7, and the official score. Convert the file with tools/convert/atss.py
# first.
_base_ = './atss-ladder_official-rules_r50_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[102.9801, 115.9465, 122.7717],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    backbone=dict(norm_cfg=dict(requires_grad=False), style='caffe'),
    neck=dict(relu_before_extra_convs=True),
    bbox_head=dict(
        conv_bias=True,
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
    ),
)
