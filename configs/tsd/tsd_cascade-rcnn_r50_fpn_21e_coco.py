# TSD Cascade R-CNN R-50, 21 epochs: AP 42.0 on val in the official README.
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    '../_base_/tsd_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(
        type='TSDCascadeRoIHead',
        stage_loss_weights=[1, 1, 1],
        bbox_head=[
            dict(head, **_base_.tsd_head | dict(reg_class_agnostic=False))
            for head in _base_.model.roi_head.bbox_head
        ],
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.0)),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
optim_wrapper = _base_.tsd_optimizer
param_scheduler = _base_.tsd_cascade_schedule
train_cfg = dict(max_epochs=21)
