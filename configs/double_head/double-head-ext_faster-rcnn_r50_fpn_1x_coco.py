# Double-Head-Ext R-50, 1x: AP 40.3 on val in the official repository.
# 8 GPUs x 2 images, lr 0.02 (official: 8 images, lr 0.01, twice the steps).
_base_ = 'mmdet::double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(
        type='DoubleHeadExtRoIHead',
        bbox_head=dict(
            type='DoubleHeadExtBBoxHead',
            num_convs=2,
            loss_cls=dict(loss_weight=1.0),
            loss_bbox=dict(loss_weight=1.0),
        ),
    ),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
# half of the convolutions would be fewer than the non-local blocks
mini = dict(
    model=dict(
        roi_head=dict(bbox_head=dict(num_convs=2, conv_out_channels=64))
    )
)
small = dict(model=dict(roi_head=dict(bbox_head=dict(conv_out_channels=256))))
