# GFL R-50, 1x: AP 40.2 on val (tables 2b, 2c and 3). Both losses are the
# unified one.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='GFLAblationHead',
        loss_cls=dict(type='GeneralizedFocalLoss', form='quality'),
        loss_dfl=dict(
            type='GeneralizedFocalLoss', form='distribution', beta=0.0
        ),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='BatchATSSAssigner', topk=9)
    ),
)
auto_scale_lr = dict(base_batch_size=16)
