# BorderDet R-101, 2x, shorter side 640 or 800: AP 45.0 on val (official model
# zoo). 8 GPUs x 2 images, lr 0.01.
_base_ = './borderdet_r50-caffe_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe'),
    )
)
resize = dict(
    type='RandomChoiceResize',
    scales=[(1333, 640), (1333, 800)],
    keep_ratio=True,
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:2],
            resize,
            *_base_.train_pipeline[3:],
        ]
    )
)
warm_up, steps = _base_.param_scheduler
param_scheduler = [warm_up, dict(steps, end=24, milestones=[16, 22])]
train_cfg = dict(max_epochs=24)
