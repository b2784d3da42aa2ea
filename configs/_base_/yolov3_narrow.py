"""YOLOv3 at small scale, but for its backbone.

The neck and head shrink with a backbone of 32, 64 and 128 channels. Images
keep a long side of 320: YOLOv3's 608 would become 146. Training images are
only flipped: expansion, crops, colors and scales are made for 273 epochs.
"""

_mini_scale = (320, 320)
_mini_test = dict(dataset=dict(pipeline={'1': dict(scale=_mini_scale)}))
mini = dict(
    model=dict(
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
