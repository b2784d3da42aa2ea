# MAL R-101: AP 43.6 on test-dev in the official repository, which doesn't say
# with which schedule. 8 GPUs x 2 images, lr 0.01.
_base_ = './mal_r50_fpn_18e_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
