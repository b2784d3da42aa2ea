# Table 1, first row: RetinaNet, one square anchor of 8 strides:
# AP 32.5 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_retinanet-a1_gn_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(norm_cfg=None))
