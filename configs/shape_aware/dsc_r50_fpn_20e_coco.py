# DSC R-50, 20 epochs: box AP 45.8, mask AP 40.1 on val in the official README.
# 8 GPUs x 2 images, lr 0.02. Needs COCO's stuffthingmaps.
_base_ = './dsc_r50_fpn_1x_coco.py'
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=20, milestones=[16, 19]),
]
train_cfg = dict(max_epochs=20)
