# Table 1: RetinaNet #A=1 with GN, GIoU, In-GT-Box and centerness: AP 36.8 on
# val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_iou-box_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(use_scale=False))
