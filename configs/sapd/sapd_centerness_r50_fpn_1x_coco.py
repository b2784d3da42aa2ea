# Variant: scores times a predicted FCOS centerness. Not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(with_centerness=True))
