# FSAF anchor-free branch alone, levels by size: AP 34.7 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fsaf_paper_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(level_select='heuristic'))
