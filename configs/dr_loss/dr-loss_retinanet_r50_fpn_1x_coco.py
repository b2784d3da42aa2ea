# DR loss on RetinaNet R-50, 1x: AP 37.4 on val, 37.6 on test-dev in the
# official repository. 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='RankingRetinaHead',
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(_delete_=True, type='DRLoss', use_sigmoid=True),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.25),
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01, bias=0),
    ),
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='BatchMaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            low_quality='own',
        )
    ),
    test_cfg=dict(score_thr=0.2),
)
