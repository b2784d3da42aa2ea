# Variant: nothing is ignored on the levels next to the selected one.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fsaf_paper_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(ignore_adjacent_levels=False))
