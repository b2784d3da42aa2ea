# Faster R-CNN, PS-ResNet-50, with the official code's FPN of poly-scale
# convolutions, which no published row has. 8 GPUs x 2 images, lr 0.02.
_base_ = './psconv_faster-rcnn_r50_fpn_1x_coco.py'
model = dict(neck=dict(type='PSFPN'))
