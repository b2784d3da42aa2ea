# CornerNet, ResNet-18 with deformable convolutions, next to CenterNet's row.
# 4 GPUs x 28 images, lr 0.0005.
_base_ = [
    '../centernet/centernet_r18-dcnv2_crop512-140e_coco.py',
    '../_base_/cornernet_parts.py',
]
model = dict(
    bbox_head=dict(
        _base_.corner_head,
        in_channels=64,
        feat_channels=64,
        num_feat_levels=1,
    ),
    test_cfg=_base_.corner_test_cfg,
)
tta_model = dict(_delete_=True, type='CornerPairTTA')
