# DSC R-50, 1x: box AP 44.7, mask AP 39.4 on val in the official README.
# 8 GPUs x 2 images, lr 0.02. Needs COCO's stuffthingmaps.
_base_ = [
    'mmdet::htc/htc_r50_fpn_1x_coco.py',
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
# small datasets have no maps of stuff
mini = dict(
    model=dict(roi_head=dict(semantic_head=None, semantic_roi_extractor=None))
)
