# Ablation: IoU of at least 0.5 for positives of the second stage.
# AP not known to us. 8 GPUs x 2 images, lr 0.01.
_base_ = './aligndet_r50_fpn_1x_coco.py'
model = dict(
    train_cfg=dict(align_assigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.5))
)
