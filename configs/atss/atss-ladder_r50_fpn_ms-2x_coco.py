# ATSS R-50, 24 epochs, multi-scale (short side 640 to 800): not in the
# official zoo, the base of its other rows.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
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
    dict(_base_.param_scheduler[1], end=24, milestones=[16, 22]),
]
train_cfg = dict(max_epochs=24)
