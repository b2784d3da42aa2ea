# Faster R-CNN with R-50-FPN and the recipe of Hit-Detector; 36.6 in the
# official README. At small scale a ResNet-50 of a quarter of the width, from
# random weights. 8 GPUs x 2 images, lr 0.02.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
_loss = dict(_delete_=True, type='SmoothL1Loss', loss_weight=1.0)
model = dict(
    rpn_head=dict(loss_bbox=dict(beta=1 / 9, **_loss)),
    roi_head=dict(bbox_head=dict(loss_bbox=dict(beta=1.0, **_loss))),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
_base_.param_scheduler[0].update(start_factor=0.1, end=800)
param_scheduler = _base_.param_scheduler
auto_scale_lr = dict(base_batch_size=16)
_plain = dict(type='ResNet', depth=50, stem_channels=16, base_channels=16)
_random = dict(norm_eval=False, zero_init_residual=False)
mini = dict(
    model=dict(
        backbone=dict(_delete_=True, **_plain, **_random),
        neck=dict(in_channels=[64, 128, 256, 512]),
    )
)
small = dict(train_cfg=dict(max_epochs=12))  # from random weights
