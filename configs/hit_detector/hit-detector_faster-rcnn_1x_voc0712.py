# The found detector on VOC07+12, as the official repository trains it: no AP
# is given. 8 GPUs x 4 images; its lr is unknown, 0.02 is ours.
_base_ = [
    'mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712-cocofmt.py',
    '../_base_/hit_detector_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, **_base_.hit_backbone),
    neck=dict(_delete_=True, **_base_.hit_neck),
    rpn_head=dict(loss_bbox=_base_.hit_rpn_loss),
    roi_head=dict(bbox_head=_base_.hit_head),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=_base_.hit_clip)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    *_base_.param_scheduler,
]
auto_scale_lr = dict(base_batch_size=32)
