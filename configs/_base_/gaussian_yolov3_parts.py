"""The head of Gaussian YOLOv3, and the small-scale diff of Darknet-53.

The overlay knows ResNets: at small scale one of 16 base channels takes the
place of Darknet, and the neck and head shrink in proportion. Images
keep a long side of 320: YOLOv3's 608 would become 146. Training images are
only flipped: expansion, crops, colors and scales are made for 273 epochs.
"""

gaussian_yolov3_head = dict(
    type='GaussianYOLOV3Head',
    num_classes=80,
    in_channels=[512, 256, 128],
    out_channels=[1024, 512, 256],
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
    loss_conf=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
    loss_bbox=dict(type='GaussianNLLLoss', sigma_const=0.3, eps=1e-9),
)
_mini_scale = (320, 320)
_mini_test = dict(dataset=dict(pipeline={'1': dict(scale=_mini_scale)}))
mini = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='ResNet',
            depth=18,
            stem_channels=16,
            base_channels=16,
            out_indices=(1, 2, 3),
            norm_cfg=dict(type='BN', requires_grad=True),
        ),
        neck=dict(in_channels=[128, 64, 32], out_channels=[64, 32, 16]),
        bbox_head=dict(in_channels=[64, 32, 16], out_channels=[128, 64, 32]),
    ),
    train_dataloader=dict(
        dataset=dict(
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='Resize', scale=_mini_scale, keep_ratio=True),
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ]
        )
    ),
    val_dataloader=_mini_test,
    test_dataloader=_mini_test,
    train_cfg=dict(val_interval=1),
)
# YOLOv3 learns slowly: one anchor of nine is positive for an object
small = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='EfficientNetLite0',
            out_indices=(3, 4, 5),
            frozen_stages=6,
            cache_dir='work_dirs/frozen_stages',
        ),
        neck=dict(in_channels=[320, 112, 40]),
    ),
    train_cfg=dict(max_epochs=18),
)
