# CenterNet, ResNet-18: the baseline of the row with corners.
# 4 GPUs x 28 images, lr 0.0005.
_base_ = '../centernet/centernet_r18-dcnv2_crop512-140e_coco.py'
