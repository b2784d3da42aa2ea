# Noisy Anchors R-50, 3x: AP 40.2 on val in the official repository (RetinaNet:
# 37.9).
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_ms-640-800-3x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='NoisyAnchorRetinaHead',
        alpha=0.75,
        loss_cls=dict(
            _delete_=True,
            type='SoftFocalLoss',
            use_sigmoid=True,
            alpha=0.5,
            gamma=2.0,
        ),
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=0.1),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='TopNIoUAssigner', topn=30)
    ),
)
