# FPT, Faster R-CNN: no ST and GT on P2, the most expensive level; the authors
# advise a subset if memory is short (issue 2).
# 8 GPUs x 2 images, lr 0.02.
_base_ = './fpt_faster-rcnn_r50_1x_coco.py'
model = dict(neck=dict(st_levels=[1, 2, 3], gt_levels=[1, 2, 3]))
