# FPT, Faster R-CNN: ST and GT, no RT. 8 GPUs x 2 images, lr 0.02.
_base_ = './fpt_faster-rcnn_r50_1x_coco.py'
model = dict(neck=dict(rt_levels=()))
