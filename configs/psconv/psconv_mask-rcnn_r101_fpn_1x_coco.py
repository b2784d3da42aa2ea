# Mask R-CNN, PS-ResNet-101. AP on val 41.6, masks 37.4 in the official
# repository. 8 GPUs x 2 images, lr 0.02.
_base_ = './psconv_mask-rcnn_r50_fpn_1x_coco.py'
_init = dict(checkpoint='torchvision://resnet101')
model = dict(backbone=dict(depth=101, init_cfg=_init))
