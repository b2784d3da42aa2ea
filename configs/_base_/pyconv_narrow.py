# PyConvResNet-50 at small scale, with a quarter of the channels. A level with
# 4 channels has at most 4 groups.
mini = dict(
    model=dict(
        backbone=dict(
            stem_channels=16,
            base_channels=16,
            groups=((1, 4, 4, 4), (1, 4, 8), (1, 4), (1,)),
            frozen_stages=-1,
            norm_eval=False,  # from random weights
        ),
        neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
    )
)
