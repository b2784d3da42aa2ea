"""EFM and SPP-PANet."""

import pytest
import torch
from mmdet.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.methods.cspnet.efm import Fusion, maxout, num_parts
from mmdet_assigners.methods.cspnet.panet import spatial_pyramid
from mmdet_assigners.utils import get_config

CHANNELS = [4, 6, 8]
SIZES = [(13, 18), (7, 9), (4, 5)]


def maps(sizes=SIZES):
    torch.manual_seed(0)
    return [
        torch.randn(2, channels, *size)
        for channels, size in zip(CHANNELS, sizes, strict=True)
    ]


def test_maxout():
    x = torch.tensor([3.0, 1.0, 2.0, 5.0]).reshape(1, 4, 1, 1)
    assert maxout(x, 2).flatten().tolist() == [3.0, 5.0]
    assert maxout(x, 4).flatten().tolist() == [5.0]
    assert torch.equal(maxout(x, 3), x)  # does not divide 4
    copies = torch.rand(2, 3, 4, 4)
    assert torch.equal(maxout(copies.repeat_interleave(5, 1), 5), copies)


def test_parts():
    assert num_parts('efm', 4) == [2, 3, 3, 2]
    assert num_parts('fpn', 4) == [2, 2, 2, 1]
    assert num_parts('gfm', 4) == [4, 4, 4, 4]
    assert num_parts('efm', 1) == [1]


@pytest.mark.parametrize('mode', ['efm', 'fpn', 'gfm'])
@pytest.mark.parametrize('sizes', [SIZES, [(8, 8), (4, 5), (2, 2)]])
def test_levels_keep_their_sizes(mode, sizes):
    """Also when a level is a cell larger than half of the finer one."""
    neck = MODELS.build(
        dict(
            type='EFM',
            in_channels=CHANNELS,
            out_channels=[2, 3, 5],
            channels=4,
            mode=mode,
        )
    )
    outs = neck(maps(sizes))
    for out, size, width in zip(outs, sizes, [2, 3, 5], strict=True):
        assert out.shape == (2, width, *size)
    neck.coarsest_first = True
    for out, other in zip(neck(maps(sizes))[::-1], outs, strict=True):
        assert torch.equal(out, other)


@pytest.mark.parametrize(
    ('mode', 'reached'),
    [
        ('efm', [(0, 1), (0, 1, 2), (1, 2)]),
        ('fpn', [(0, 1), (1, 2), (2,)]),
        ('gfm', [(0, 1, 2)] * 3),
    ],
)
def test_which_levels_reach_which(mode, reached):
    fusion = Fusion(CHANNELS, 4, 2, mode, None, None)
    inputs = [x.requires_grad_() for x in maps()]
    for level, expected in enumerate(reached):
        out = fusion(inputs)[level].sum()
        grads = torch.autograd.grad(out, inputs, allow_unused=True)
        found = tuple(i for i, g in enumerate(grads) if g is not None)
        assert found == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(mode='emf'),
            "one of efm, fpn, gfm, got 'emf'; did you mean efm",
        ),
        (dict(pieces=0), 'pieces must be at least 1, got 0'),
        (dict(out_channels=[4, 4]), r'one number or 3, .* got \[4, 4\]'),
    ],
)
def test_bad_arguments_of_efm(options, message):
    cfg = dict(type='EFM', in_channels=CHANNELS, out_channels=4, channels=4)
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg | options)


def test_spatial_pyramid():
    x = torch.zeros(1, 1, 15, 15)
    x[..., 7, 7] = 1
    out = spatial_pyramid(x, (5, 13, 9))
    assert [int(plane.sum()) for plane in out[0]] == [169, 81, 25, 1]


@pytest.mark.parametrize('coarsest_first', [True, False])
def test_levels_of_the_pan(coarsest_first):
    neck = MODELS.build(
        dict(
            type='SPPPANNeck',
            in_channels=CHANNELS,
            out_channels=[2, 4, 6],
            coarsest_first=coarsest_first,
        )
    )
    outs = neck(maps())[:: -1 if coarsest_first else 1]
    for out, size, width in zip(outs, SIZES, [2, 4, 6], strict=True):
        assert out.shape == (2, width, *size)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(out_channels=[4, 4]), r'each of at least 2 .* got \[4, 4\]'),
        (dict(pool_sizes=(4,)), r'pool_sizes must be odd, got \[4\]'),
    ],
)
def test_bad_arguments_of_the_pan(options, message):
    cfg = dict(type='SPPPANNeck', in_channels=CHANNELS, out_channels=[2, 4, 6])
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg | options)


def test_census_of_the_released_detector():
    """CSPResNeXt50-PANet-SPP at 512x512: parameters, and 71.29 BFLOPs."""
    cfg = get_config('cspnet-panet-spp_yolov3_x50-32x4d_ms-512-273e_coco')
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, 512, 512), mode='tensor')
    assert sum(p.numel() for p in model.parameters()) == 56_942_525
    assert round(counter.get_total_flops() / 1e9, 2) == 71.29
