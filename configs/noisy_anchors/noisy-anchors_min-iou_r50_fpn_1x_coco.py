# Ablation: no positives of IoU below 0.1. 8 GPUs x 2 images, lr 0.01.
_base_ = './noisy-anchors_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(min_iou=0.1)))
