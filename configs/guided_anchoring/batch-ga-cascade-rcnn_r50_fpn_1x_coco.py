# GA-Cascade R-CNN R-50 1x: not in the paper. 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    '../_base_/ga_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    rpn_head=dict(_delete_=True, **_base_.ga_rpn_head),
    train_cfg=dict(rpn=_base_.ga_rpn_train, rpn_proposal=_base_.ga_proposals),
    test_cfg=dict(rpn=_base_.ga_proposals, rcnn=dict(score_thr=1e-3)),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
auto_scale_lr = dict(base_batch_size=16)
