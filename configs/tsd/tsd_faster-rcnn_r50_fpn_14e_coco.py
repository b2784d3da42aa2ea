# TSD Faster R-CNN R-50, 14 epochs: AP 40.9 on val in the official README
# (41.0 in the paper; baseline 36.2).
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/tsd_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(type='TSDRoIHead', bbox_head=_base_.tsd_head),
    test_cfg=dict(rcnn=dict(score_thr=0.0)),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
optim_wrapper = _base_.tsd_optimizer
param_scheduler = _base_.tsd_schedule
train_cfg = dict(max_epochs=14)
