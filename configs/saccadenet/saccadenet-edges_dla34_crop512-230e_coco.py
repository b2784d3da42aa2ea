# SaccadeNet, DLA-34, also the middles of the sides are sampled (the official
# v2, which no released script ran).
# 4 GPUs x 8 images, lr 0.000125.
_base_ = './saccadenet_dla34_crop512-230e_coco.py'
model = dict(bbox_head=dict(agg_mode='corners_edges'))
