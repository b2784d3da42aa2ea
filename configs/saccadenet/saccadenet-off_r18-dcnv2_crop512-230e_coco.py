# CenterNet, ResNet-18, with SaccadeNet's schedule: the baseline.
# 4 GPUs x 8 images, lr 0.000125.
_base_ = './saccadenet_r18-dcnv2_crop512-230e_coco.py'
model = dict(bbox_head=dict(type='CenterPointHead'))
