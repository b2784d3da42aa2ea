# For the released R-50 checkpoint (AP 39.3): Caffe-style backbone and input,
# biases in the towers, anchors and boxes with inclusive corners, ReLU before
# P7, and the official score. Convert the file with `mmdet-assigners convert
# atss` first.
_base_ = [
    './atss-ladder_official-rules_r50_fpn_1x_coco.py',
    '../_base_/detectron_parts.py',
]
model = dict(
    data_preprocessor=_base_.detectron_input,
    backbone=_base_.detectron_backbone,
    neck=dict(relu_before_extra_convs=True),
    bbox_head=dict(
        conv_bias=True,
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
    ),
)
