# For the released R-50 checkpoint (box AP 36.8, mask AP 32.1 on val, box AP
# 37.8 with MBRM): anchors of mmdet 1.x. Convert the file with
# `mmdet-assigners convert rdsnet` first.
_base_ = './rdsnet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(anchor_generator=_base_.rdsnet_released_anchors))
