# SSD300 at small scale: ResNet-18, a quarter of the channels, images of 72x72,
# no map below 2x2.
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
_channels = (64, 128, 128, 64, 64, 64)
_sides = [5, 11, 24, 37, 50, 63, 76]
mini = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='ResNet',
            depth=18,
            stem_channels=16,
            base_channels=16,
            num_stages=3,
            strides=(1, 2, 1),
            dilations=(1, 1, 1),
            out_indices=(2,),
            norm_eval=False,
        ),
        neck=dict(
            in_channels=_channels[:1],
            out_channels=_channels,
            level_paddings=(1, 1, 1, 1, 1),
        ),
        bbox_head=dict(
            in_channels=_channels,
            anchor_generator=dict(
                strides=[8, 16, 32, 64, 64, 64],
                min_sizes=_sides[:-1],
                max_sizes=_sides[1:],
            ),
        ),
    )
)
