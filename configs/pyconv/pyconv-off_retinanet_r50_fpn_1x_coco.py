# RetinaNet of mmdet, 36.5, whose form at small scale is a ResNet-50 of the
# depth and width that PyConvResNet-50 has there. 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
auto_scale_lr = dict(base_batch_size=16)
mini = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='ResNet',
            depth=50,
            stem_channels=16,
            base_channels=16,
            norm_eval=False,
            zero_init_residual=False,
        ),
        neck=dict(in_channels=[64, 128, 256, 512]),
    )
)
small = dict(train_cfg=dict(max_epochs=12))  # from random weights
