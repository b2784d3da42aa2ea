# For the released R-50 checkpoint (AP 40.9 on val): anchors, RoIAlign and
# deformable pooling of mmdet 1.x. Convert the file with
# `mmdet-assigners convert tsd` first.
_base_ = './tsd_faster-rcnn_r50_fpn_14e_coco.py'
model = dict(
    rpn_head=_base_.tsd_released_rpn,
    roi_head=dict(
        bbox_roi_extractor=_base_.tsd_released_rois,
        bbox_head=dict(pool_mode='legacy'),
    ),
)
