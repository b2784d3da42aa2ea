# For the released R-101 checkpoints (box AP 38.7 and 40.8, mask AP 34.1 and
# 36.2 on val): anchors of mmdet 1.x. Convert the file with
# `mmdet-assigners convert rdsnet` first.
_base_ = './rdsnet_r101_fpn_1x_coco.py'
model = dict(bbox_head=dict(anchor_generator=_base_.rdsnet_released_anchors))
