import torch
from mmdet.models.backbones import HourglassNet

from mmdet_assigners.methods.cornernet import SingleHourglassNet

SMALL = dict(
    downsample_times=2,
    stage_channels=(8, 8, 12),
    stage_blocks=(1, 1, 1),
    feat_channel=8,
)


def test_mmdets_map_without_the_link_of_stacks():
    torch.manual_seed(0)
    ours, theirs = SingleHourglassNet(**SMALL), HourglassNet(**SMALL)
    theirs.num_stacks = 1  # the rest of its two stacks is not used
    missing, extra = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing
    assert any(name.startswith('inters.') for name in extra)
    x = torch.randn(1, 3, 61, 90)
    (found,), (expected,) = ours.eval()(x), theirs.eval()(x)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(p.grad is not None for p in ours.parameters())
