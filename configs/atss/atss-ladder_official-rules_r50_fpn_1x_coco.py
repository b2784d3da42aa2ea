# ATSS with the official code's score, the root of class score times
# centerness, and its normalizers; not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(sqrt_score=True, official_norm=True))
