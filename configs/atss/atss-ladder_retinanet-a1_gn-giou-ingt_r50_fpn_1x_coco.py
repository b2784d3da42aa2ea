# Table 1: RetinaNet #A=1 with GN, GIoU and In-GT-Box: AP 35.3 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_retinanet-a1_gn-giou-ingt-ctr_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(use_centerness=False))
