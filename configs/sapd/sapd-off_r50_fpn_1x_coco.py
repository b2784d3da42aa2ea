# Ablation: neither SW nor SS, which is FSAF (AP 35.9 on val in its paper) on
# anchor points.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(soft_weight=False, soft_select=False))
