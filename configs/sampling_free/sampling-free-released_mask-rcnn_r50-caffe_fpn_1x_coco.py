# For the released R-50 checkpoint (box AP 39.0, mask AP 34.9 on val):
# Caffe-style backbone and input, anchors and RoIAlign of maskrcnn-benchmark.
# Convert the file with `mmdet-assigners convert sampling_free` first.
_base_ = [
    './sampling-free_mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/detectron_parts.py',
]
model = dict(
    data_preprocessor=_base_.detectron_input,
    backbone=_base_.detectron_backbone,
    rpn_head=_base_.detectron_anchors,
    roi_head=dict(
        bbox_roi_extractor=_base_.detectron_roi_align,
        bbox_head=_base_.detectron_coder,
        mask_roi_extractor=_base_.detectron_roi_align,
    ),
)
