# Released Faster R-CNN, PS-R-50: AP on val 38.4
# in the official repository, with the boxes of mmdet 1.x.
_base_ = './psconv_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    rpn_head=_base_.psconv_released_rpn,
    roi_head=dict(bbox_roi_extractor=_base_.psconv_released_rois),
)
