"""Official preprocessing of ExtremeNet, with parts of CenterNet."""

_read = dict(type='LoadImageFromFile', backend_args=None)
_points = [
    dict(type='LoadAnnotations', with_bbox=True),
    # from the segmentations of the dataset
    dict(type='LoadExtremePoints'),
]
# a random square of the image, of 511 pixels times a scale
extreme_train = [
    _read,
    *_points,
    dict(type='RandomExtremeWarp', size=(511, 511)),
    dict(type='PCAColorJitter'),
    dict(type='PackExtremeInputs'),
]
# of the longer side of the image times a scale, as in CenterNet
extreme_train_512 = [
    _read,
    *_points,
    dict(type='RandomExtremeWarp', size=(512, 512), relative=True),
    dict(type='PCAColorJitter'),
    dict(type='PackExtremeInputs'),
]
extreme_test_cfg = dict(
    _delete_=True,
    extreme_topk=40,
    local_maximum_kernel=3,
    aggr_weight=0.1,
    score_thr=0.1,
    center_thr=0.1,
    num_dets=1000,
    max_per_img=100,
    suppress_ghost=True,
)
# one pass over images that are resized to 320 pixels
extreme_mini = dict(
    _delete_=True,
    train_dataloader=dict(
        dataset=dict(
            times=1, dataset=dict(pipeline={'3': dict(size=(320, 320))})
        )
    ),
)
# crops follow the size of the image: tests see images of that size too
_small_test = dict(
    dataset=dict(
        pipeline=[
            _read,
            dict(type='Resize', scale=(320, 240), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                type='PackDetInputs',
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                ),
            ),
        ]
    )
)
extreme_mini_512 = dict(
    **extreme_mini, val_dataloader=_small_test, test_dataloader=_small_test
)
# the recipe of the published small-scale form, with extreme points
extreme_small = dict(
    train_dataloader=dict(
        dataset=dict(
            pipeline=[
                dict(type='LoadImageFromFile'),
                *_points,
                dict(type='ExtremeResize', scale=(480, 360), keep_ratio=True),
                dict(type='ExtremeFlip', prob=0.5),
                dict(type='PackExtremeInputs'),
            ]
        )
    )
)
