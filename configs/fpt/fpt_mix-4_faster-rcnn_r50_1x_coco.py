# FPT, Faster R-CNN: ST with a mixture of 4. Paper's AP not known to us. 8 GPUs
# x 2 images, lr 0.02.
_base_ = './fpt_faster-rcnn_r50_1x_coco.py'
model = dict(neck=dict(n_mix=4))
