# Points in the middle of their cells as in mmdet, not at the corner.
# AP not known to us. 8 GPUs x 2 images, lr 0.01.
_base_ = './borderdet_r50-caffe_fpn_1x_coco.py'
model = dict(bbox_head=dict(point_offset=0.5))
