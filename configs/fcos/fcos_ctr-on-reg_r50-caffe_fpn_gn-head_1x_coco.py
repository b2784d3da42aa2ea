# Improvements 1 of 4: centerness on the box tower. AP 37.4 on val in the
# paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos-ablation_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(centerness_on_reg=True))
