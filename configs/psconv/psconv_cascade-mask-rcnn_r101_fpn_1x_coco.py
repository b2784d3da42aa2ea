# Cascade Mask R-CNN, PS-ResNet-101. AP on val 44.6, masks 38.4 in the official
# repository. 8 GPUs x 2 images, lr 0.02.
_base_ = './psconv_cascade-mask-rcnn_r50_fpn_1x_coco.py'
_init = dict(checkpoint='torchvision://resnet101')
model = dict(backbone=dict(depth=101, init_cfg=_init))
