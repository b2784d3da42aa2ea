# Variant: shape loss as in the paper instead of mmdet's BoundedIoULoss.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './batch-ga-rpn_r50-caffe_fpn_1x_coco.py'
model = dict(rpn_head=dict(loss_shape=dict(type='GAShapeLoss')))
