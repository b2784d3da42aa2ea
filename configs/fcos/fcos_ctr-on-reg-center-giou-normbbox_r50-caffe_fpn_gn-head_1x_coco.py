# Improvements 4 of 4: + targets in strides. AP 38.6 on val in the paper; 38.7
# in the official README.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos_ctr-on-reg-center-giou_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(norm_on_bbox=True))
