# For the released R-50 checkpoint (AP 40.3 on val): Caffe-style backbone and
# input, anchors and RoIAlign of maskrcnn-benchmark. Convert the file with
# `mmdet-assigners convert double_head` first.
_base_ = [
    './double-head-ext_faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/detectron_parts.py',
]
model = dict(
    data_preprocessor=_base_.detectron_input,
    backbone=_base_.detectron_backbone,
    rpn_head=_base_.detectron_anchors,
    roi_head=dict(
        bbox_roi_extractor=_base_.detectron_roi_align,
        bbox_head=_base_.detectron_coder,
    ),
)
