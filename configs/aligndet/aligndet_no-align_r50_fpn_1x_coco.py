# Ablation: plain 7x7 convolutions instead of RoIConv, the same tower.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(align_head=dict(align=False)))
