# CSPResNeXt-50 under Faster R-CNN; the paper has no such row.
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/cspnet_narrow.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    data_preprocessor=_base_.cspnet_images,
    backbone=dict(_delete_=True, **_base_.cspnet_x50),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
auto_scale_lr = dict(base_batch_size=16)
mini = dict(
    model=dict(
        rpn_head=dict(in_channels=64, feat_channels=64),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=64),
            bbox_head=dict(in_channels=64, fc_out_channels=256),
        ),
    )
)
