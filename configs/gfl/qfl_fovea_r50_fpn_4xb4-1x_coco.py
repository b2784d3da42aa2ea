# Table 1b: FoveaBox with QFL: AP 37.0 on val. 4 GPUs x 4 images, lr 0.01.
_base_ = 'mmdet::foveabox/fovea_r50_fpn_4xb4-1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='QFLFoveaHead',
        loss_cls=dict(
            _delete_=True,
            type='GeneralizedFocalLoss',
            form='quality',
            beta=2.0,
            use_sigmoid=True,
        ),
    )
)
auto_scale_lr = dict(base_batch_size=16)
