# FSAF joint, R-101, 18 epochs, scale jitter: AP 40.9 on test-dev (table of
# the GFL paper). 8 GPUs x 2 images, lr 0.01.
_base_ = './retina-fsaf_r101_fpn_1x_coco.py'
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:2],
            dict(
                type='RandomResize',
                scale=[(1333, 640), (1333, 800)],
                keep_ratio=True,
            ),
            *_base_.train_pipeline[3:],
        ]
    )
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=18, milestones=[12, 16]),
]
train_cfg = dict(max_epochs=18)
