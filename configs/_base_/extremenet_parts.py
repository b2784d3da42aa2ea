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
# CenterNet's quick form, with extreme points
extreme_mini = dict(
    train_dataloader=dict(
        dataset=dict(
            pipeline=[
                _read,
                *_points,
                dict(type='RandomExtremeWarp', size=(320, 320), relative=True),
                dict(type='PCAColorJitter'),
                dict(type='PackExtremeInputs'),
            ]
        )
    )
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
