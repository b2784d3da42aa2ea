# CenterNet, ResNet-18 with deformable convolutions, as in the official code.
# AP 28.1, flip test 30.0, multi-scale test 33.2.
# 4 GPUs x 28 images (officially 114 in all), lr 0.0005.
_base_ = [
    'mmdet::centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
    '../_base_/centernet_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    data_preprocessor=_base_.keypoint_preprocessor,
    bbox_head=dict(type='CenterPointHead', init_std=0.001),
)
train_dataloader = dict(batch_size=28, dataset=_base_.keypoint_dataset)
val_dataloader = dict(dataset=dict(pipeline=_base_.keypoint_tests['plain']))
test_dataloader = val_dataloader
tta_model = dict(_delete_=True, type='CenterPointTTA')
tta_pipeline = _base_.keypoint_tests['flip']
optim_wrapper = _base_.keypoint_adam
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=28, milestones=[18, 24], gamma=0.1)
]
auto_scale_lr = dict(base_batch_size=114)
mini = _base_.keypoint_mini
small = dict(train_cfg=dict(max_epochs=24))  # 6 leave AP50 below 0.5
