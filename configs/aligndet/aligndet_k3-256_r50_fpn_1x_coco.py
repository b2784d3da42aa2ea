# Second step to the box counterpart of RepPoints: 256 channels.
# AP not known to us. 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_k3_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(align_head=dict(mid_channels=256)))
