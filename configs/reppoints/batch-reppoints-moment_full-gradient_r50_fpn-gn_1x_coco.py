# Ablation: the whole gradient of the second stage reaches the first points.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_1x_coco.py'
model = dict(bbox_head=dict(gradient_mul=1.0))
