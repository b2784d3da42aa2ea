# AP-loss on RetinaNet R-50, 1x, 800 pixels, to compare with mmdet's RetinaNet
# (36.5): not in the paper. 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='RankingRetinaHead',
        anchor_generator=dict(scales_per_octave=2),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(_delete_=True, type='APLoss', use_sigmoid=True),
        loss_bbox=dict(
            _delete_=True, type='SmoothL1Loss', beta=1.0, loss_weight=0.25
        ),
    ),
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='BatchMaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            low_quality='own',
        )
    ),
    test_cfg=dict(score_thr=0.01),
)
