# CenterNet, ResNet-18, with mmdet's targets and losses and all else as in the
# official code.
# 4 GPUs x 28 images, lr 0.0005.
_base_ = './centernet_r18-dcnv2_crop512-140e_coco.py'
model = dict(bbox_head=dict(gaussian_rule='mmdet'))
