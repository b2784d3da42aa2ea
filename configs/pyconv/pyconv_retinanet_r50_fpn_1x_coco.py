# PyConvResNet-50 under RetinaNet; the paper has no such row. mmdet's baseline:
# 36.5. 8 GPUs x 2 images, lr 0.01.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../_base_/pyconv_narrow.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        type='PyConvResNet',
        init_cfg=dict(checkpoint='checkpoints/pyconvresnet50.pth'),
    )
)
auto_scale_lr = dict(base_batch_size=16)
mini = dict(
    model=dict(
        bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=2)
    )
)
small = dict(train_cfg=dict(max_epochs=12))  # from random weights
