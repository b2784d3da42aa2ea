# RDSNet R-101, 2x, short sides 640 or 800: box AP 40.8, mask AP 36.2 on val
# (minival) in the official README.
# 4 GPUs x 2 images, lr 0.005.
_base_ = './rdsnet_r101_fpn_1x_coco.py'
train_pipeline = [
    dict(
        type='RandomChoiceResize',
        scales=[(1333, 640), (1333, 800)],
        keep_ratio=True,
    )
    if transform.type == 'Resize'
    else transform
    for transform in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = _base_.rdsnet_schedule_2x
train_cfg = dict(max_epochs=24)
