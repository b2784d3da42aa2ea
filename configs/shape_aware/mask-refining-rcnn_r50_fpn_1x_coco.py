# Mask Refining R-CNN R-50, 1x: no published number.
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/shape_aware_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(
        type='MaskRefiningRoIHead',
        refine_bbox_roi_extractor=_base_.shape_guided7,
        refine_bbox_head=dict(
            _base_.model.roi_head.bbox_head,
            bbox_coder=_base_.refine_coder,
            loss_bbox=_base_.refine_loss_bbox,
        ),
        refine_mask_roi_extractor=_base_.shape_guided14,
        refine_mask_head=_base_.model.roi_head.mask_head,
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner')),
        rcnn=[_base_.model.train_cfg.rcnn, _base_.refine_rcnn],
    ),
)
