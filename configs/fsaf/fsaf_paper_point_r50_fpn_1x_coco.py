# Variant: a point is in a region if the point itself is, as the text of the
# paper reads.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fsaf_paper_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(region_rule='point'))
