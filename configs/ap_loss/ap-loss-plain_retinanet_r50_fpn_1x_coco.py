# Ablation: precision without interpolation. 8 GPUs x 2 images, lr 0.01.
_base_ = './ap-loss_retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(interpolate=False)))
