# FPT, Faster R-CNN: locality-constrained GT (segmentation in the paper).
# 8 GPUs x 2 images, lr 0.02.
_base_ = './fpt_faster-rcnn_r50_1x_coco.py'
model = dict(neck=dict(gt_mode='local'))
