# Noisy Anchors R-50, 1x: AP 38.0 on val in the paper, 38.6 in the official
# repository.
# 8 GPUs x 2 images, lr 0.01; there batch 8 and lr 0.005 for twice as many
# iterations.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
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
