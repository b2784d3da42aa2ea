# Table 1b: RetinaNet with QFL: AP 36.4 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='QFLRetinaHead',
        loss_cls=dict(
            _delete_=True,
            type='GeneralizedFocalLoss',
            form='quality',
            beta=2.0,
            use_sigmoid=True,
        ),
    )
)
