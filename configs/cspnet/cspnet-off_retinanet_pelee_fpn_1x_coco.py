# PeleeNet under RetinaNet, from random weights, the baseline of CSPPeleeNet.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './cspnet_retinanet_pelee_fpn_1x_coco.py'
model = dict(backbone=dict(type='PeleeNet'))
mini = dict(model=dict(backbone=dict(type='PeleeNet')))
