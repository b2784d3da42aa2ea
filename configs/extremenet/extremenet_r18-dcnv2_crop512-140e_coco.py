# ExtremeNet, ResNet-18 with deformable convolutions, next to CenterNet's row.
# 4 GPUs x 28 images, lr 0.0005.
_base_ = [
    '../centernet/centernet_r18-dcnv2_crop512-140e_coco.py',
    '../_base_/extremenet_parts.py',
]
model = dict(
    bbox_head=dict(
        _delete_=True,
        type='ExtremeHead',
        num_classes=80,
        in_channels=64,
        feat_channels=64,
    ),
    test_cfg=_base_.extreme_test_cfg,
)
train_dataloader = dict(
    dataset=dict(dataset=dict(pipeline=_base_.extreme_train_512))
)
tta_model = dict(_delete_=True, type='ExtremeTTA')
mini = _base_.extreme_mini
small = _base_.extreme_small
