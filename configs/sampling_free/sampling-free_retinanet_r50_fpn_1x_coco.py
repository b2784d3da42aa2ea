# Sampling-Free RetinaNet R-50, 1x: AP 36.8 on val, 36.9 on test-dev in the
# official repository (focal loss: 36.4 on val).
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
assigner = dict(type='BatchMaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
model = dict(
    bbox_head=dict(
        type='SamplingFreeRetinaHead',
        prior_prob=1e-5,
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(
            _delete_=True, type='CrossEntropyLoss', use_sigmoid=True
        ),
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=0.11),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, low_quality='own', **assigner)
    ),
    # the prior times 81
    test_cfg=dict(score_thr=8.1e-4, nms=dict(iou_threshold=0.55)),
)
# between the priors of BCCD and shapes, counted by prior_statistics
mini = dict(
    model=dict(bbox_head=dict(prior_prob=0.005), test_cfg=dict(score_thr=0.02))
)
