# D2Det R-50, 2x: AP 43.7 on val in the official README (published with
# `variant='v1'`; this is the authors' later loss).
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py',
    '../_base_/d2det_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=_base_.d2det_roi_head,
    train_cfg=dict(
        rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner')),
        rcnn=dict(jitter=0.15, max_num_reg=192),
    ),
    test_cfg=dict(rcnn=_base_.d2det_test),
)
param_scheduler = _base_.d2det_schedule
mini = dict(model=_base_.d2det_mini)
