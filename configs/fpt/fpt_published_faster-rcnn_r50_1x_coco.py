# FPT, Faster R-CNN: all transformers as published. 8 GPUs x 2 images, lr 0.02.
_base_ = './fpt_dot-gt_faster-rcnn_r50_1x_coco.py'
model = dict(neck=dict(gate_norm_cfg=dict(type='SyncBN')))
# one value per image: no batch norm with one image in one process
mini = dict(model=dict(neck=dict(gate_norm_cfg=dict(type='GN', num_groups=1))))
