# Ablation: the points are supervised by localization alone, no gradient from
# the classification.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_1x_coco.py'
model = dict(bbox_head=dict(cls_gradient_mul=0.0))
