# Positives whose center is outside the box become negative, not ignored;
# not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_iou-box_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(outside='negative')))
