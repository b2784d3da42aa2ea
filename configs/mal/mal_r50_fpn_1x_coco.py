# MAL R-50 in the schedule of mmdet's FreeAnchor (AP 38.7 on val in its model
# zoo), to compare with it. Not in the paper. 8 GPUs x 2 images, lr 0.01.
_base_ = './mal_r50_fpn_18e_coco.py'
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=12, milestones=[8, 11]),
]
train_cfg = dict(max_epochs=12)
