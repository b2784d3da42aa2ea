# Table 3: soft labels alone, all weights 1. AP 37.1 on val with alpha 0.5
# (both parts: 37.7).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './noisy-anchors_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(gamma=0.0))
