# Table 6: one anchor of aspect ratio 1:2 (height:width, as in mmdet): AP 39.0
# on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(anchor_generator=dict(ratios=[0.5])))
