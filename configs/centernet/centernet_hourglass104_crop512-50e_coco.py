# CenterNet, Hourglass-104, officially from ExtremeNet's weights. AP 40.3, flip
# test 42.2, multi-scale test 45.1.
# 6 GPUs x 4 images (officially on 5), lr 0.00025.
_base_ = './centernet_r18-dcnv2_crop512-140e_coco.py'
model = dict(
    backbone=dict(_delete_=True, type='HourglassNet'),
    neck=None,
    bbox_head=dict(
        in_channels=256, feat_channels=256, num_stacks=2, init_std=None
    ),
)
train_dataloader = dict(batch_size=4)
val_dataloader = dict(dataset=dict(pipeline=_base_.hourglass_tests['plain']))
test_dataloader = val_dataloader
tta_pipeline = _base_.hourglass_tests['flip']
train_cfg = dict(max_epochs=10)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=10, milestones=[8], gamma=0.1)
]
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
auto_scale_lr = dict(base_batch_size=24)
mini = dict(model=dict(_delete_=True, **_base_.narrow_hourglass))
