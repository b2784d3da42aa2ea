# The recipe of the published small-scale form, the same for every method:
# `--small` merges it over a COCO config, see mmdet_assigners.small_scale.
_load = dict(type='LoadImageFromFile')
_annotations = dict(type='LoadAnnotations', with_bbox=True)
_resize = dict(type='Resize', scale=(480, 360), keep_ratio=True)
_meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')

_test_loader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        ann_file='',
        test_mode=True,
        pipeline=[
            _load,
            _resize,
            _annotations,
            dict(type='PackDetInputs', meta_keys=_meta),
        ],
    ),
)
_evaluator = dict(
    _delete_=True,
    type='CocoMetric',
    ann_file='',
    metric='bbox',
    classwise=True,
)

train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=0,  # small images: workers cost more time than they save
    sampler=dict(type='DefaultSampler', shuffle=True),
    # an incomplete last batch disturbs a run, see docs/quick_form.md
    drop_last=True,
    dataset=dict(
        type='CocoDataset',
        ann_file='',
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            _load,
            _annotations,
            _resize,
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    ),
)
val_dataloader = _test_loader
test_dataloader = _test_loader
val_evaluator = _evaluator
test_evaluator = _evaluator

model = dict(
    data_preprocessor=dict(
        mean=[127.0] * 3,
        std=[128.0] * 3,
        bgr_to_rgb=True,
        batch_augments=None,
    )
)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6)
val_cfg = dict(_delete_=True, type='ValLoop')
test_cfg = dict(_delete_=True, type='TestLoop')
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10, norm_type=2),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=6,
        T_max=6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=2),
)
auto_scale_lr = dict(enable=False)
load_from = None
env_cfg = dict(dist_cfg=dict(backend='gloo'))
