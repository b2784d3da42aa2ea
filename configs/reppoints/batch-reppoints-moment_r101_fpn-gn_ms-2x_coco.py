# RepPoints R-101, moment, 2x multi-scale: AP 42.3 on val2017 in the official
# repository, 44.1 with --tta. 8 GPUs x 2 images, lr 0.01.
_base_ = './batch-reppoints-moment_r50_fpn-gn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
