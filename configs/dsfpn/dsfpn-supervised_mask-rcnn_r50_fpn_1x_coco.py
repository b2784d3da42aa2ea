# DSFPN ablation, Mask R-CNN: FPN + bottom-up supervision, shared heads.
# mmdet's baseline: 38.2, masks 34.7.
# 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    neck=dict(type='DuallySupervisedFPN'),
    roi_head=dict(type='DuallySupervisedRoIHead'),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
