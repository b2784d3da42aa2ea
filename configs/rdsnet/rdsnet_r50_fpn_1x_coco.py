# RDSNet R-50, 1x: box AP 36.8, mask AP 32.1 on val (minival) in the official
# README.
# 4 GPUs x 2 images, lr 0.005.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rdsnet_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    type='RDSNet',
    bbox_head=dict(
        type='RDSRetinaHead',
        norm_cfg=_base_.rdsnet_norm,
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=0.11),
    ),
    mask_head=_base_.rdsnet_mask_head,
    train_cfg=dict(assigner=dict(type='BatchMaxIoUAssigner')),
    test_cfg=dict(mask_thr_binary=0.4),
)
optim_wrapper = _base_.rdsnet_optimizer
param_scheduler = _base_.rdsnet_schedule_1x
auto_scale_lr = dict(base_batch_size=8)
