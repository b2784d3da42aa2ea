# Table 1: RetinaNet #A=1 with GN and GIoU: AP 34.9 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_retinanet-a1_gn-giou-ingt_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(outside='keep')))
