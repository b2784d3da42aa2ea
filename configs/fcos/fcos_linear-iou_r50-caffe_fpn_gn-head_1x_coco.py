# Box loss 1 - IoU instead of -log IoU. 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos-ablation_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(mode='linear')))
