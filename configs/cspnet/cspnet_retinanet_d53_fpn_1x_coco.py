# CSPDarknet-53 under RetinaNet; the paper has no such row.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './cspnet_retinanet_x50-32x4d_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='CSPDarknet53',
        out_indices=(1, 2, 3, 4),
        frozen_stages=2,
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/csdarknet53.pth'
        ),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
mini = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='CSPDarknet53',
            out_indices=(1, 2, 3, 4),
            widen_factor=0.25,
            norm_eval=False,
        ),
        neck=dict(in_channels=[32, 64, 128, 256]),
    )
)
