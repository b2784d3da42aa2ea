# RepPoints R-50, min-max: AP 38.2 on val2017 in the official repository.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_1x_coco.py'
model = dict(bbox_head=dict(transform_method='minmax'))
