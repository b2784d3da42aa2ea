# Ablation: soft-selected levels only (SS). 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(soft_weight=False))
