# FSAF joint, levels by size instead of loss: AP 36.1 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './retina-fsaf_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(level_select='heuristic'))
