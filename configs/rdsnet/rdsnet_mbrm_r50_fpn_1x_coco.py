# RDSNet R-50 with boxes refined by masks, 1x: box AP 37.8, mask AP 32.1 on
# val (minival) in the official README.
# 4 GPUs x 2 images, lr 0.005.
_base_ = './rdsnet_r50_fpn_1x_coco.py'
model = dict(mask_head=dict(mbrm=dict(type='MaskBoundaryRefinement')))
