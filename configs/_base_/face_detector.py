# RetinaNet for faces: a level of stride 4, and per location one square anchor
# of side 2.72 strides; tests as face detectors do, by the official protocol.
_base_ = 'mmdet::wider_face/retinanet_r50_fpn_1x_widerface.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    neck=dict(start_level=0, num_outs=6),
    bbox_head=dict(
        anchor_generator=dict(
            _delete_=True,
            type='AnchorGenerator',
            scales=[2.72],
            ratios=[1.0],
            strides=[4, 8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1 / 9),
    ),
    test_cfg=dict(
        nms_pre=5000,
        score_thr=0.01,
        nms=dict(type='nms', iou_threshold=0.3),
        max_per_img=750,
    ),
)
# mmdet leaves out faces below 17 pixels; here only those without area
train_dataloader = dict(dataset=dict(filter_cfg=dict(bbox_min_size=1)))
val_evaluator = dict(
    _delete_=True,
    type='WIDERFaceMetric',
    ann_file='data/WIDERFace/ground_truth/wider_face_val.mat',
)
test_evaluator = val_evaluator
