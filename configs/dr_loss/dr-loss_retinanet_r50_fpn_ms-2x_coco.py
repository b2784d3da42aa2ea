# DR loss on RetinaNet R-50, 2x, multi-scale, with the recipe of R-101.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './dr-loss_retinanet_r50_fpn_1x_coco.py'
model = dict(test_cfg=dict(score_thr=0.1))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:2],
            dict(
                type='RandomChoiceResize',
                scales=[(1333, side) for side in range(640, 801, 32)],
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
