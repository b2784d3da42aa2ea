# Variant: the images of a GPU are one list (base: each its own).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './dr-loss_retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(per_image=False)))
