# For the released Cascade R-CNN R-50 (AP 42.0 on val): anchors, RoIAlign and
# deformable pooling of mmdet 1.x. Convert the file with
# `mmdet-assigners convert tsd` first.
_base_ = './tsd_cascade-rcnn_r50_fpn_21e_coco.py'
model = dict(
    rpn_head=_base_.tsd_released_rpn,
    roi_head=dict(
        bbox_roi_extractor=_base_.tsd_released_rois,
        bbox_head=[
            dict(head, pool_mode='legacy')
            for head in _base_.model.roi_head.bbox_head
        ],
    ),
)
