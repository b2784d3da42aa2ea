# D2Det R-50 on VOC07+12 with mmdet's schedule for Faster R-CNN and the warm-up
# of D2Det: no AP is published. 8 GPUs x 2 images, lr 0.01.
_base_ = [
    'mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py',
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
param_scheduler = [_base_.d2det_schedule[0], *_base_.param_scheduler]
mini = dict(model=_base_.d2det_mini)
