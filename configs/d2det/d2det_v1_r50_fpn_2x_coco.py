# The box loss of the published 43.7: the mean over all cells times the share
# of cells on the object. 8 GPUs x 2 images, lr 0.02.
_base_ = './d2det_r50_fpn_2x_coco.py'
model = dict(roi_head=dict(d2det_head=dict(variant='v1', loss_weight=2.0)))
