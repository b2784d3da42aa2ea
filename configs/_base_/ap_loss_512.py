# What the official AP-loss does around the head: a caffe ResNet, training in
# the manner of SSD at 512 pixels, 100 epochs, tests at 500 x 833.
_base_ = '../ap_loss/ap-loss_retinanet_r50_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[102.9801, 115.9465, 122.7717],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe'),
    ),
    neck=dict(relu_before_extra_convs=True),
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:2],
            dict(
                type='PhotoMetricDistortion',
                brightness_delta=32,
                contrast_range=(0.5, 1.5),
                saturation_range=(0.5, 1.5),
                hue_delta=18,
            ),
            dict(
                type='Expand',
                mean=[102.9801, 115.9465, 122.7717],
                to_rgb=False,
                ratio_range=(1, 4),
            ),
            dict(
                type='MinIoURandomCrop',
                min_ious=(0.1, 0.3, 0.5, 0.7, 0.9),
                min_crop_size=0.3,
            ),
            dict(type='Resize', scale=(512, 512), keep_ratio=False),
            *_base_.train_pipeline[3:],
        ]
    ),
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            _base_.test_pipeline[0],
            dict(type='Resize', scale=(833, 500), keep_ratio=True),
            *_base_.test_pipeline[2:],
        ]
    )
)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500
    ),
    dict(
        type='MultiStepLR',
        begin=0,
        end=100,
        by_epoch=True,
        milestones=[60, 80],
        gamma=0.1,
    ),
]
train_cfg = dict(max_epochs=100)
