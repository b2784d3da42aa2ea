# Cascade R-CNN, PS-ResNet-50. AP on val 41.9 in the official
# repository. Starts from weights of the plain ResNet, not from the official
# ones, see the README. 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    '../_base_/psconv_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='PSResNet', from_dense=True),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
optim_wrapper = dict(clip_grad=_base_.psconv_clip)
param_scheduler = _base_.psconv_schedule
_roi_head = dict(
    bbox_roi_extractor=_base_.psconv_mini_extractor,
    bbox_head=_base_.psconv_mini_stages,
)
mini = dict(model=dict(roi_head=_roi_head, **_base_.psconv_mini))
