# Table 2b: 12 bins: AP 40.1 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl-ablation_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(reg_max=12))
