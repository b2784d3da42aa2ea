# Towards AlignDet: no gradient from the second stage into the first box.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-bbox-center_r50_fpn-gn_1x_coco.py'
model = dict(bbox_head=dict(gradient_mul=0.0))
