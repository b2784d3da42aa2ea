# Released Mask R-CNN on SpineNet-96 of a port at 1024: AP 47.0, masks 41.2
# on val, with the boxes of mmdet 1.x.
_base_ = './spinenet_mask-rcnn_96_1024-350e_coco.py'
model = dict(
    rpn_head=_base_.spinenet_released_anchors,
    roi_head=dict(
        bbox_roi_extractor=_base_.spinenet_released_rois,
        mask_roi_extractor=_base_.spinenet_released_rois,
    ),
)
