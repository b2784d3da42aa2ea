# Table 2c: bins of 4 strides, n = 16: AP 39.8 on val. 8 GPUs x 2 images, lr
# 0.01.
_base_ = './gfl-ablation_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(delta=4.0))
