"""HitDetectorBackbone: the shapes of its levels."""

import torch
from mmdet.registry import MODELS


def test_strides_and_channels():
    net = MODELS.build(
        dict(type='HitDetectorBackbone', depth=18, base_channels=8)
    )
    outs = net(torch.rand(2, 3, 64, 96))
    assert [tuple(out.shape) for out in outs] == [
        (2, 8, 16, 24),
        (2, 16, 8, 12),
        (2, 32, 4, 6),
        (2, 64, 2, 3),
    ]
