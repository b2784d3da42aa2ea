# For the released R-50 checkpoint (AP 37.4 on val): Caffe-style backbone and
# input, anchors of maskrcnn-benchmark, ReLU before P7. Convert the file with
# `mmdet-assigners convert dr_loss` first.
_base_ = [
    './dr-loss_retinanet_r50_fpn_1x_coco.py',
    '../_base_/detectron_parts.py',
]
model = dict(
    data_preprocessor=_base_.detectron_input,
    backbone=_base_.detectron_backbone,
    neck=dict(relu_before_extra_convs=True),
    bbox_head=_base_.detectron_anchors,
)
