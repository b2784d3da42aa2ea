# The found detector. AP on val 41.4 with 27 M parameters in the abstract, 41.3
# in the official README; R-50-FPN there 36.6. 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/hit_detector_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, **_base_.hit_backbone),
    neck=dict(_delete_=True, **_base_.hit_neck),
    rpn_head=dict(loss_bbox=_base_.hit_rpn_loss),
    roi_head=dict(bbox_head=_base_.hit_head),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
optim_wrapper = dict(clip_grad=_base_.hit_clip)
_base_.param_scheduler[0].update(start_factor=0.1, end=800)
param_scheduler = _base_.param_scheduler
auto_scale_lr = dict(base_batch_size=16)
small = dict(train_cfg=dict(max_epochs=12))  # from random weights
