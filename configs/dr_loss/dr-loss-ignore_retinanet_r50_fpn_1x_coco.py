# Variant: anchors of IoU 0.4 to 0.5 are ignored (base: negatives).
# 8 GPUs x 2 images, lr 0.01.
_base_ = './dr-loss_retinanet_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(neg_iou_thr=0.4)))
