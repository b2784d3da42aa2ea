# D2Det R-101 with its instance branch, 2x: mask AP 39.8 on val in the official
# README; one sample per bin. 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py',
    '../_base_/d2det_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=_base_.d2det_instance_roi_head,
    train_cfg=dict(
        rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner')),
        rcnn=dict(jitter=0.15, max_num_reg=192),
    ),
    test_cfg=dict(rcnn=_base_.d2det_instance_test),
)
param_scheduler = _base_.d2det_schedule
mini = dict(model=_base_.d2det_instance_mini)
