# DSFPN, Cascade R-CNN, all stages supervised: an option of the official code
# that is off.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './dsfpn_cascade-rcnn_r50_fpn_1x_coco.py'
model = dict(roi_head=dict(aux_stages=(0, 1, 2)))
