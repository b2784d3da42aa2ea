# RepPoints R-50, moment, no group norm: AP 37.0 on val2017 in mmdet's zoo.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_1x_coco.py'
model = dict(neck=dict(norm_cfg=None), bbox_head=dict(norm_cfg=None))
