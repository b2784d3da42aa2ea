# For the released Mask R-CNN R-50 (box AP 41.2, mask AP 35.8 on val): anchors,
# RoIAlign and deformable pooling of mmdet 1.x. Convert the file with
# `mmdet-assigners convert tsd` first.
_base_ = './tsd_mask-rcnn_r50_fpn_14e_coco.py'
model = dict(
    rpn_head=_base_.tsd_released_rpn,
    roi_head=dict(
        bbox_roi_extractor=_base_.tsd_released_rois,
        bbox_head=dict(pool_mode='legacy'),
        mask_roi_extractor=_base_.tsd_released_rois,
    ),
)
