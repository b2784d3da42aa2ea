# Released Mask R-CNN on SpineNet-49 of a port at 640: AP 43.3, masks 37.8
# on val, with the boxes of mmdet 1.x.
_base_ = './spinenet_mask-rcnn_49_640-350e_coco.py'
model = dict(
    rpn_head=_base_.spinenet_released_anchors,
    roi_head=dict(
        bbox_roi_extractor=_base_.spinenet_released_rois,
        mask_roi_extractor=_base_.spinenet_released_rois,
    ),
)
