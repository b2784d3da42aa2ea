# DSC R-50, 1x, without the semantic branch, for data that has no maps of
# stuff: no published number.
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::htc/htc-without-semantic_r50_fpn_1x_coco.py',
    '../_base_/shape_aware_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(_base_.dsc_roi_head, type='DSCRoIHead'),
    train_cfg=dict(
        rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner')),
        rcnn=_base_.dsc_rcnn,
    ),
)
