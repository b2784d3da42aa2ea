# Gaussian YOLOv3, 608, mixed precision; the losses stay in float32.
# 8 GPUs x 8 images, lr 0.001.
_base_ = './gaussian-yolov3_d53_ms-608-273e_coco.py'
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
