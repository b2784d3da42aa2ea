# Released Faster R-CNN, PS-X-101 32x4d: AP on val 41.3
# in the official repository, with the boxes of mmdet 1.x.
_base_ = './psconv_faster-rcnn_x101-32x4d_fpn_1x_coco.py'
model = dict(
    rpn_head=_base_.psconv_released_rpn,
    roi_head=dict(bbox_roi_extractor=_base_.psconv_released_rois),
)
