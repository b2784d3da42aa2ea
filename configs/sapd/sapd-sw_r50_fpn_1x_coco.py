# Ablation: soft-weighted points only (SW). 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(soft_select=False))
