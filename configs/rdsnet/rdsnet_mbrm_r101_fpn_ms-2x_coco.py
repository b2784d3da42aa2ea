# RDSNet R-101 with boxes refined by masks, 2x, short sides 640 or 800: box AP
# 41.8, mask AP 36.2 on val (minival) in the official README.
# 4 GPUs x 2 images, lr 0.005.
_base_ = './rdsnet_r101_fpn_ms-2x_coco.py'
model = dict(mask_head=dict(mbrm=dict(type='MaskBoundaryRefinement')))
