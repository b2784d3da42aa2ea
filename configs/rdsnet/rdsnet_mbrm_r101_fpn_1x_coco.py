# RDSNet R-101 with boxes refined by masks, 1x: box AP 39.7, mask AP 34.1 on
# val (minival) in the official README.
# 4 GPUs x 2 images, lr 0.005.
_base_ = './rdsnet_r101_fpn_1x_coco.py'
model = dict(mask_head=dict(mbrm=dict(type='MaskBoundaryRefinement')))
