import pytest
import torch

from mmdet_assigners.models.backbones import DLANet
from mmdet_assigners.models.necks import DLAUpNeck
from mmdet_assigners.models.necks.dla_up import IterativeAggregation

NARROW = (4, 4, 8, 8, 12, 16)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_dla34():
    """The official counts, less two projections whose output is not used."""
    with torch.device('meta'):
        backbone, neck = DLANet(), DLAUpNeck()
    unused = 64 * 128 + 2 * 128 + 128 * 256 + 2 * 256
    assert count(backbone) == 15_270_832 - unused
    assert count(neck) == 3_515_012 + 425_324


def test_names_are_official():
    names = DLANet(channels=NARROW).state_dict()
    for name in (
        'base_layer.0.weight',
        'level0.1.running_mean',
        'level1.0.weight',
        'level2.tree1.conv1.weight',
        'level2.project.0.weight',
        'level3.tree2.tree1.bn2.bias',
        'level4.tree2.root.conv.weight',
        'level5.root.bn.weight',
    ):
        assert name in names
    assert not any(
        'level3.project' in n or 'level4.project' in n for n in names
    )


def test_sizes_and_levels():
    net = DLANet(channels=NARROW, out_indices=(0, 3, 5)).eval()
    sizes = [tuple(out.shape[1:]) for out in net(torch.zeros(1, 3, 64, 96))]
    assert sizes == [(4, 64, 96), (8, 8, 12), (16, 2, 3)]


def test_frozen_levels():
    net = DLANet(channels=NARROW, frozen_stages=3, norm_eval=True).train()
    trained = {
        name.partition('.')[0]
        for name, parameter in net.named_parameters()
        if parameter.requires_grad
    }
    assert trained == {'level3', 'level4', 'level5'}
    assert not net.level4.tree1.root.bn.training
    assert net.level4.training and not net.level2.training


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(levels=(1, 1, 1)), r'levels must have 6 numbers, got \(1, 1, 1'),
        (dict(out_indices=(2, 6)), 'out_indices must be stages from 0 to 5'),
        (dict(frozen_stages=7), 'frozen_stages must be -1 to 6, got 7'),
    ],
)
def test_levels_that_there_are_not(options, message):
    with pytest.raises(ValueError, match=message):
        DLANet(**options)


def test_up_sampling_keeps_a_ramp():
    """Before training it interpolates, away from the border."""
    part = IterativeAggregation((1, 1), 1, (1, 4), False, dict(type='BN'))
    part.init_weights()
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    (row,) = part.up_1(ramp)[0, 0, 16:17, 6:-6]
    steps = row.diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 0.25))


def test_the_last_map_has_stride_4():
    neck = DLAUpNeck(NARROW[2:], use_dcn=False).eval()
    maps = [
        torch.zeros(2, width, 24 >> i, 16 >> i)
        for i, width in enumerate(NARROW[2:])
    ]
    (out,) = neck(maps)
    assert out.shape == (2, 8, 24, 16)


def test_odd_sizes():
    neck = DLAUpNeck(NARROW[2:], use_dcn=False)
    sizes = ((25, 16), (12, 8), (6, 4), (3, 2))
    maps = [
        torch.zeros(1, width, *size)
        for width, size in zip(NARROW[2:], sizes, strict=True)
    ]
    with pytest.raises(ValueError, match='pad_size_divisor=32'):
        neck(maps)
