# ExtremeNet, DLA-34, as in the code of CenterNet: without edge aggregation and
# suppression of ghosts, boxes not clipped. AP 33.0, flip test 36.5.
# 8 GPUs x 8 images, lr 0.00025.
_base_ = [
    '../centernet/centernet_dla34_crop512-140e_coco.py',
    '../_base_/extremenet_parts.py',
]
model = dict(
    bbox_head=dict(
        _delete_=True, type='ExtremeHead', num_classes=80, in_channels=64
    ),
    test_cfg=dict(
        _base_.extreme_test_cfg,
        aggr_weight=0.0,
        clip_border=False,
        suppress_ghost=False,
    ),
)
train_dataloader = dict(
    batch_size=8, dataset=dict(dataset=dict(pipeline=_base_.extreme_train_512))
)
tta_model = dict(_delete_=True, type='ExtremeTTA')
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
auto_scale_lr = dict(base_batch_size=64)
mini = _base_.extreme_mini
small = _base_.extreme_small
