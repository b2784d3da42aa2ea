# Third step to the box counterpart of RepPoints: its IoU thresholds, 0.5/0.4.
# AP not known to us. 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_k3-256_r50_fpn_1x_coco.py'
model = dict(
    train_cfg=dict(align_assigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.4))
)
