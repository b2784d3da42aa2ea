# Baseline: neither compensation nor ignore rule, which is RetinaNet (36.5 in
# mmdet). 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox-k0_retinanet_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(ignore_pred_iou=1.1)))
