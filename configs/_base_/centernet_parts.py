"""Official preprocessing and tests of CenterNet."""

keypoint_train = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomCenterWarp', size=(512, 512)),
    dict(type='PCAColorJitter'),
    dict(type='PackDetInputs'),
]
_load = dict(type='LoadImageFromFile', backend_args=None)
_pack = [
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'border',
        ),
    ),
]


keypoint_preprocessor = dict(
    mean=[255 * v for v in (0.40789654, 0.44719302, 0.47026115)],
    std=[255 * v for v in (0.28863828, 0.27408164, 0.27809835)],
    bgr_to_rgb=False,
    pad_size_divisor=32,
)
# all images, also those without objects
keypoint_dataset = dict(
    dataset=dict(
        filter_cfg=dict(filter_empty_gt=False, min_size=0),
        pipeline=keypoint_train,
    )
)
# pipelines without augmentation, with the mirrored image, and of five scales
keypoint_tests, hourglass_tests, odd_tests = (
    dict(
        plain=[
            _load,
            dict(type='KeepResolution', divisor=divisor, odd=odd),
            *_pack,
        ],
        **{
            name: [
                _load,
                dict(
                    type='TestTimeAug',
                    transforms=[
                        [
                            dict(
                                type='KeepResolution',
                                scale=scale,
                                divisor=divisor,
                                odd=odd,
                            )
                            for scale in scales
                        ],
                        *([step] for step in _pack),
                    ],
                ),
            ]
            for name, scales in (
                ('flip', [1.0]),
                ('scales', [0.5, 0.75, 1.0, 1.25, 1.5]),
            )
        },
    )
    for divisor, odd in ((32, False), (128, False), (128, True))
)
# nothing is decayed, warmed up or clipped
keypoint_adam = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-4)
)
_small_test = dict(
    dataset=dict(
        pipeline=[
            _load,
            dict(type='Resize', scale=(320, 240), keep_ratio=True),
            *_pack,
        ]
    )
)
keypoint_mini = dict(
    # mmcv's deformable convolution has no bfloat16 on a CPU
    model=dict(neck=dict(use_dcn=False)),
    # one pass over the images in an epoch, at 320 pixels
    train_dataloader=dict(
        dataset=dict(
            _delete_=True,
            type='CocoDataset',
            data_root='data/coco/',
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            pipeline=[
                dict(type='LoadImageFromFile', backend_args=None),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='RandomCenterWarp', size=(320, 320)),
                dict(type='PCAColorJitter'),
                dict(type='PackDetInputs'),
            ],
        )
    ),
    val_dataloader=_small_test,
    test_dataloader=_small_test,
)
# small networks for small-scale runs
_widths = [4, 8, 16, 32, 64, 128]
narrow_dla = dict(
    backbone=dict(channels=_widths),
    neck=dict(in_channels=_widths[2:]),
    bbox_head=dict(in_channels=16, feat_channels=64),
)
narrow_hourglass = dict(
    backbone=dict(
        stage_channels=[32, 32, 48, 48, 48, 64],
        stage_blocks=[1, 1, 1, 1, 1, 2],
        feat_channel=32,
    ),
    bbox_head=dict(in_channels=32, feat_channels=32),
)
