# Baseline: matching at IoU 0.35 alone, neither compensation nor ignore rule.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox-k0_r50_fpn_1x_widerface.py'
model = dict(train_cfg=dict(assigner=dict(ignore_pred_iou=1.1)))
