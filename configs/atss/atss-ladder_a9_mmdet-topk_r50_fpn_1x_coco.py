# ATSS, 3 scales x 3 ratios, 9 candidates per level as in mmdet's assigner;
# not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_a9_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(topk_per_location=False)))
