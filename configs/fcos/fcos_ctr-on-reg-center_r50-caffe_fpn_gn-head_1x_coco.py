# Improvements 2 of 4: + center sampling, radius 1.5 strides (the default). AP
# 38.1 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos_ctr-on-reg_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(center_sampling=True))
