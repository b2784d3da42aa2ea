"""CSPResNeXt-50 under an FPN detector, and at small scale.

Images are those of Darknet's ImageNet weights, RGB in [0, 1]. At small scale
the network has a quarter of the channels and random weights.
"""

cspnet_images = dict(mean=[0, 0, 0], std=[255.0, 255.0, 255.0])
cspnet_x50 = dict(
    type='CSPResNeXt',
    depth=50,
    frozen_stages=1,
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/csresnext50.pth'),
)
mini = dict(
    model=dict(
        backbone=dict(
            widen_factor=0.25, groups=8, frozen_stages=-1, norm_eval=False
        ),
        neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
    )
)
