# Candidates per level: k = 3: AP 38.0 on val (from memory, unverified).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(topk=3)))
