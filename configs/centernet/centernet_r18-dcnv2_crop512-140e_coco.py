# CenterNet, ResNet-18 with deformable convolutions, as in the official code.
# AP 28.1, flip test 30.0, multi-scale test 33.2.
# 4 GPUs x 28 images (officially 114 in all), lr 0.0005.
_base_ = [
    'mmdet::centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
    '../_base_/centernet_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(
        mean=[255 * v for v in (0.40789654, 0.44719302, 0.47026115)],
        std=[255 * v for v in (0.28863828, 0.27408164, 0.27809835)],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    bbox_head=dict(type='CenterPointHead', init_std=0.001),
)
train_dataloader = dict(
    batch_size=28,
    dataset=dict(
        dataset=dict(
            filter_cfg=dict(filter_empty_gt=False, min_size=0),
            pipeline=_base_.keypoint_train,
        )
    ),
)
val_dataloader = dict(dataset=dict(pipeline=_base_.keypoint_tests['plain']))
test_dataloader = val_dataloader
tta_model = dict(_delete_=True, type='CenterPointTTA')
tta_pipeline = _base_.keypoint_tests['flip']
optim_wrapper = _base_.keypoint_adam
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=28, milestones=[18, 24], gamma=0.1)
]
auto_scale_lr = dict(base_batch_size=114)
mini = dict(
    # mmcv's deformable convolution has no bfloat16 on a CPU
    model=dict(neck=dict(use_dcn=False)),
    train_dataloader=dict(
        dataset=dict(
            times=1, dataset=dict(pipeline={'2': dict(size=(320, 320))})
        )
    ),
)
