# Ablation: neither center prior nor confidence weights.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './autoassign_conf-none_r50-caffe_fpn_1x_coco.py'
model = dict(bbox_head=dict(center_prior='none'))
