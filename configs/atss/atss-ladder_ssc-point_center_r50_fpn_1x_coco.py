# Table 3: FCOS with center sampling of 1.5 strides: AP 38.6 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_ssc-point_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(center_radius=1.5)))
