# Table 2c: bins of 0.5 strides, n = 16: AP 40.2 on val. 8 GPUs x 2 images, lr
# 0.01.
_base_ = './gfl-ablation_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(delta=0.5))
