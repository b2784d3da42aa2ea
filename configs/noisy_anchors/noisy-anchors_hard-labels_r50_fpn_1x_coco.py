# Table 3: weights alone, label 1 for every positive. AP 36.7 on val with alpha
# 0.5 (both parts: 37.7).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './noisy-anchors_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(soft_labels=False))
