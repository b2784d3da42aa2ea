"""CenterNet on VOC07+12 as in the official code: data, pipelines, schedule."""

_voc_read = dict(type='LoadImageFromFile', backend_args=None)
_voc_boxes = dict(type='LoadAnnotations', with_bbox=True)
_voc_pack = dict(
    type='PackDetInputs',
    meta_keys=(
        'img_id',
        'img_path',
        'ori_shape',
        'img_shape',
        'scale_factor',
        'border',
    ),
)
_voc = dict(type='VOCDataset', data_root='data/VOCdevkit/')
# training, test and flip test at two sizes
voc_384, voc_512 = (
    dict(
        train=dict(
            _delete_=True,
            type='ConcatDataset',
            ignore_keys=['dataset_type'],
            datasets=[
                dict(
                    **_voc,
                    ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                    data_prefix=dict(sub_data_root=f'VOC{year}/'),
                    pipeline=[
                        _voc_read,
                        _voc_boxes,
                        dict(type='RandomCenterWarp', size=(size, size)),
                        dict(type='PCAColorJitter'),
                        dict(type='PackDetInputs'),
                    ],
                )
                for year in (2007, 2012)
            ],
        ),
        test=dict(
            _delete_=True,
            **_voc,
            ann_file='VOC2007/ImageSets/Main/test.txt',
            data_prefix=dict(sub_data_root='VOC2007/'),
            test_mode=True,
            pipeline=[
                _voc_read,
                dict(type='CenterWarp', size=(size, size)),
                _voc_boxes,
                _voc_pack,
            ],
        ),
        flip=[
            _voc_read,
            dict(
                type='TestTimeAug',
                transforms=[
                    [dict(type='CenterWarp', size=(size, size))],
                    [_voc_boxes],
                    [_voc_pack],
                ],
            ),
        ],
    )
    for size in (384, 512)
)
# the official order of the channels is BGR, that of the numbers RGB
voc_preprocessor = dict(
    mean=[255 * v for v in (0.485, 0.456, 0.406)],
    std=[255 * v for v in (0.229, 0.224, 0.225)],
)
voc_evaluator = dict(
    _delete_=True, type='VOCMetric', metric='mAP', eval_mode='11points'
)
voc_schedule = [
    dict(type='MultiStepLR', begin=0, end=70, milestones=[45, 60], gamma=0.1)
]
# the quick form has data in the format of COCO
_voc_small_test = dict(
    dataset=dict(
        _delete_=True,
        type='CocoDataset',
        data_root='data/coco/',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=[
            _voc_read,
            dict(type='CenterWarp', size=(320, 320)),
            _voc_boxes,
            _voc_pack,
        ],
    )
)
_voc_coco = dict(
    _delete_=True,
    type='CocoMetric',
    ann_file='data/coco/annotations/instances_val2017.json',
    metric='bbox',
)
voc_mini = dict(
    val_dataloader=_voc_small_test,
    test_dataloader=_voc_small_test,
    val_evaluator=_voc_coco,
    test_evaluator=_voc_coco,
)
