# MAL X-101-64x4d, bags of 50, 24 epochs (official: 180k iterations, lr / 10 at
# 120k and 160k), short side 480 to 960: AP 45.9 on test-dev in the official
# repository, 47.0 with multi-scale test.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './mal_r50_fpn_18e_coco.py'
model = dict(
    backbone=dict(type='ResNeXt', depth=101, groups=64, base_width=4),
    bbox_head=dict(pre_anchor_topk=50),
)
model['backbone']['init_cfg'] = dict(
    type='Pretrained',
    checkpoint='torchvision://resnext101_64x4d.imagenet1k_v1',
)
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(
    type='RandomChoiceResize',
    scales=[(1333, side) for side in range(480, 961, 32)],
    keep_ratio=True,
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=24, milestones=[16, 21]),
]
train_cfg = dict(max_epochs=24)
