# DSFPN ablation, Cascade R-CNN: FPN + decoupled box heads, no supervision.
# mmdet's baseline: 40.3.
# 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(
        bbox_head=[
            dict(head, type='ConvFCBBoxHead', num_cls_fcs=2, num_reg_fcs=2)
            for head in _base_.model.roi_head.bbox_head
        ]
    ),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
