# Ablation: negative weight 0 for an object's class inside its box.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './autoassign-ablation_r50-caffe_fpn_1x_coco.py'
model = dict(bbox_head=dict(neg_weight='zero'))
