# Variant: five convolutions per tower, as a summary of the paper says.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './sapd_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(stacked_convs=5))
