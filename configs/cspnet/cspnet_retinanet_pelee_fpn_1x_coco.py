# CSPPeleeNet, partial dense stages, under RetinaNet, from random weights; the
# paper has no such row. 8 GPUs x 2 images, lr 0.01.
_base_ = './cspnet_retinanet_x50-32x4d_fpn_1x_coco.py'
norm_eval = False
model = dict(
    backbone=dict(_delete_=True, type='CSPPeleeNet', norm_eval=norm_eval),
    neck=dict(in_channels=[128, 256, 512, 704]),
)
mini = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='CSPPeleeNet',
            widen_factor=0.25,
            norm_eval=norm_eval,
        ),
        neck=dict(in_channels=[32, 64, 128, 176]),
    )
)
