# CSPPeleeNet with one transition of two (fusion last) under RetinaNet, from
# random weights; the paper has no such row. 8 GPUs x 2 images, lr 0.01.
_base_ = './cspnet_retinanet_pelee_fpn_1x_coco.py'
model = dict(backbone=dict(mode='fusion_last'))
mini = dict(model=dict(backbone=dict(mode='fusion_last')))
