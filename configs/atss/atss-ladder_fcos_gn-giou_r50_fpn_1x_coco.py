# FCOS (SSC, point) without scalar and centerness; not in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_fcos_gn-giou-ctr_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(use_centerness=False))
