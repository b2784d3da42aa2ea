# Released Mask R-CNN, PS-R-50: AP on val 39.4, masks 35.6
# in the official repository, with the boxes of mmdet 1.x.
_base_ = './psconv_mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    rpn_head=_base_.psconv_released_rpn,
    roi_head=dict(
        bbox_roi_extractor=_base_.psconv_released_rois,
        mask_roi_extractor=_base_.psconv_released_rois,
    ),
)
