# Boxes instead of points, one anchor, no group norm.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-bbox_r50_fpn-gn_1x_coco.py'
model = dict(neck=dict(norm_cfg=None), bbox_head=dict(norm_cfg=None))
