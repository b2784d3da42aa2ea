# PyConvResNet-50 under Mask R-CNN; the paper has no such row. mmdet's
# baseline: 38.2. 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/pyconv_narrow.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
_weights = dict(checkpoint='checkpoints/pyconvresnet50.pth')
model = dict(
    backbone=dict(type='PyConvResNet', init_cfg=_weights),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
auto_scale_lr = dict(base_batch_size=16)
mini = dict(
    model=dict(
        rpn_head=dict(in_channels=64, feat_channels=64),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=64),
            bbox_head=dict(in_channels=64, fc_out_channels=256),
            mask_roi_extractor=dict(out_channels=64),
            mask_head=dict(in_channels=64, conv_out_channels=64, num_convs=2),
        ),
    )
)
