# RepPoints R-50, moment, 2x: AP 38.6 on val2017 in the official repository.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_1x_coco.py'
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=24, milestones=[16, 22]),
]
train_cfg = dict(max_epochs=24)
