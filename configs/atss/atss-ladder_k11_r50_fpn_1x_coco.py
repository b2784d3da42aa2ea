# Table 4: k = 11 candidates per level: AP 39.1 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(topk=11)))
