# For the released R-101 checkpoint with masks (mask AP 39.8 on val). Convert
# the file with `mmdet-assigners convert d2det` first.
_base_ = './d2det-instance_r101_fpn_2x_coco.py'
model = dict(
    rpn_head=_base_.d2det_released_rpn,
    roi_head=_base_.d2det_released_roi_head,
)
