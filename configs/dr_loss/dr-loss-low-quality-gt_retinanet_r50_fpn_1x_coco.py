# Variant: anchors that are best for an object belong to it, as in mmdet.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './dr-loss_retinanet_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(low_quality='gt')))
