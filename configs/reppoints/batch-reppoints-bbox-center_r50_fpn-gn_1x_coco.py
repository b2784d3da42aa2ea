# Boxes instead of points, no anchors: the 3x3 grid of a box, AP 37.3 on
# val2017 in the official repository. 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-minmax_r50_fpn-gn_1x_coco.py'
model = dict(bbox_head=dict(use_grid_points=True))
