# FPT, Faster R-CNN: RT alone. 8 GPUs x 2 images, lr 0.02.
_base_ = './fpt-st-rt_faster-rcnn_r50_1x_coco.py'
model = dict(neck=dict(st_levels=()))
