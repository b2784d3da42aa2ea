# Anchors per location: RetinaNet, 3 ratios, improvements.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_iou-box_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(anchor_generator=dict(ratios=[0.5, 1.0, 2.0])))
