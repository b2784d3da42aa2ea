# SpineNet-49S under RetinaNet at 640, protocol B: AP 39.5 on val officially,
# 39.1 and 39.2 in the ports. 8 GPUs x 8 images, lr 0.07.
_base_ = './spinenet_retinanet_49_640-350e_coco.py'
model = dict(
    backbone=dict(arch='49S'),
    bbox_head=dict(in_channels=128, feat_channels=128),
)
