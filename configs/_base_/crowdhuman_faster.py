# Faster R-CNN on CrowdHuman: data, anchors and schedule of mmdet's CrowdDet.
_base_ = 'mmdet::crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    type='FasterRCNN',
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            roi_layer=dict(
                _delete_=True, type='RoIAlign', output_size=7, sampling_ratio=0
            )
        ),
        bbox_head=dict(
            _delete_=True,
            type='Shared2FCBBoxHead',
            in_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=1,
            loss_bbox=dict(type='SmoothL1Loss', loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner', neg_iou_thr=0.3)),
        rcnn=dict(
            assigner=dict(type='MaxIoUAssigner', min_pos_iou=0.5),
            sampler=dict(type='RandomSampler', add_gt_as_proposals=True),
        ),
    ),
)
