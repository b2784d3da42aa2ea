# FPT, Faster R-CNN: ST alone. 8 GPUs x 2 images, lr 0.02.
_base_ = './fpt-st-gt_faster-rcnn_r50_1x_coco.py'
model = dict(neck=dict(gt_levels=()))
