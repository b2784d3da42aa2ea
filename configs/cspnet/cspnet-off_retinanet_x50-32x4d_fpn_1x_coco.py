# RetinaNet on the plain ResNeXt-50, the baseline of CSPResNeXt-50.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
plain = dict(type='ResNeXt', depth=50, groups=32, base_width=4)
model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint='open-mmlab://resnext50_32x4d'), **plain
    )
)
auto_scale_lr = dict(base_batch_size=16)
# the depth and width that CSPResNeXt-50 has at small scale
narrow = dict(plain, groups=8, stem_channels=16, base_channels=16)
fresh = dict(norm_eval=False, zero_init_residual=False)
mini = dict(
    model=dict(
        backbone=dict(_delete_=True, **narrow, **fresh),
        neck=dict(in_channels=[64, 128, 256, 512]),
    )
)
