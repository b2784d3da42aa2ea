# RepPoints R-50, moment: AP 38.2 on val2017 in the official repository.
# Official initialization, clipping, warm-up and inclusive pixels.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='BatchRepPointsHead', inclusive_corners=True),
    train_cfg=dict(
        init=dict(assigner=dict(type='BatchPointAssigner')),
        refine=dict(
            assigner=dict(
                _delete_=True,
                type='BatchMaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                legacy_plus_one=True,
            )
        ),
    ),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1.0 / 3),
    _base_.param_scheduler[1],
]
