# RepPoints R-101, moment, 2x: AP 40.3 on val2017 in the official
# repository. 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_2x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
