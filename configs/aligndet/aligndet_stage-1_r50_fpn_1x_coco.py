# Table 3: the first stage of AlignDet alone, RetinaNet with one anchor per
# location. AP 32.4 on val. The IoU thresholds are those of the official code,
# 0.4/0.3.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='FlatRetinaHead',
        anchor_generator=dict(
            octave_base_scale=4 * 2 ** (1 / 3),
            scales_per_octave=1,
            ratios=[1.0],
            center_offset=0.5,
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11),
    ),
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='BatchMaxIoUAssigner',
            pos_iou_thr=0.4,
            neg_iou_thr=0.3,
        )
    ),
)
