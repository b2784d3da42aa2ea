# DR loss on RetinaNet R-101, 2x, multi-scale: AP 41.5 on val, 41.7 on test-dev
# in the official repository. 8 GPUs x 2 images, lr 0.01.
_base_ = './dr-loss_retinanet_r50_fpn_ms-2x_coco.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
