# Also measures AP80 and AP90 (coco_80/bbox_mAP, coco_90/bbox_mAP): 36.3 and
# 16.5 at AP 39.2 on val in the official repository.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './kl-loss_faster-rcnn_r50_fpn_2x_coco.py'
_coco = _base_.val_evaluator
val_evaluator = [
    _coco,
    dict(_coco, type='CocoIoUMetric', iou_thr=0.8),
    dict(_coco, type='CocoIoUMetric', iou_thr=0.9),
]
test_evaluator = val_evaluator
