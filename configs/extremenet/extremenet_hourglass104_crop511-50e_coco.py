# ExtremeNet, Hourglass-104, officially from CornerNet's weights. AP 40.3 with
# the flip test.
# 6 GPUs x 4 images (officially 24 on 5), lr 0.00025.
_base_ = [
    '../centernet/centernet_hourglass104_crop512-50e_coco.py',
    '../_base_/extremenet_parts.py',
]
model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    bbox_head=dict(
        _delete_=True,
        type='ExtremeHead',
        num_classes=80,
        in_channels=256,
        num_feat_levels=2,
    ),
    test_cfg=_base_.extreme_test_cfg,
)
train_dataloader = dict(
    dataset=dict(dataset=dict(pipeline=_base_.extreme_train))
)
val_dataloader = dict(dataset=dict(pipeline=_base_.odd_tests['plain']))
test_dataloader = val_dataloader
tta_model = dict(_delete_=True, type='ExtremeTTA')
tta_pipeline = _base_.odd_tests['flip']
mini = _base_.extreme_mini
small = _base_.extreme_small
