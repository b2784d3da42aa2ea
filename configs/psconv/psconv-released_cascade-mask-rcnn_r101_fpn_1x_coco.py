# Released Cascade Mask R-CNN, PS-R-101: AP on val 44.6, masks 38.4
# in the official repository, with the boxes of mmdet 1.x.
_base_ = './psconv_cascade-mask-rcnn_r101_fpn_1x_coco.py'
model = dict(
    rpn_head=_base_.psconv_released_rpn,
    roi_head=dict(
        bbox_roi_extractor=_base_.psconv_released_rois,
        mask_roi_extractor=_base_.psconv_released_rois,
    ),
)
