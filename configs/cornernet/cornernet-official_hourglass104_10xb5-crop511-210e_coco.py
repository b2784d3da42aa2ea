# CornerNet, Hourglass-104, as in the official code. Test-dev AP 40.5 with the
# flip test.
# 10 GPUs x 5 images (officially 49 in all), lr 0.00025.
_base_ = './cornernet_hourglass104_8xb6-crop511-210e_coco.py'
model = dict(
    # images are padded by the pipeline, to 127, 255, ... pixels
    data_preprocessor=dict(_base_.keypoint_preprocessor, pad_size_divisor=1),
    bbox_head=_base_.corner_official,
    test_cfg=_base_.corner_test_cfg,
)
train_dataloader = dict(batch_size=5, dataset=_base_.corner_dataset)
val_dataloader = dict(dataset=dict(pipeline=_base_.odd_tests['plain']))
test_dataloader = val_dataloader
tta_model = dict(_delete_=True, type='CornerPairTTA')
tta_pipeline = _base_.odd_tests['flip']
optim_wrapper = dict(
    _base_.keypoint_adam, optimizer=dict(type='Adam', lr=2.5e-4)
)
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=210, milestones=[189], gamma=0.1)
]
auto_scale_lr = dict(base_batch_size=50)
