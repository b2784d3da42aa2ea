# RepPoints R-50, moment, 2x multi-scale: AP 40.8 on val2017 in the official
# repository, 42.2 with --tta. 8 GPUs x 2 images, lr 0.01.
_base_ = [
    './batch-reppoints-moment_r50_fpn-gn_2x_coco.py',
    '../_base_/reppoints_ms_test.py',
]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:2],
            dict(
                type='RandomResize',
                scale=[(1333, 480), (1333, 960)],
                keep_ratio=True,
            ),
            *_base_.train_pipeline[3:],
        ]
    )
)
