import pytest
import torch
from mmdet.models.necks import FPN

from mmdet_assigners.methods.dsfpn.dual_pyramid import laterals_of
from mmdet_assigners.methods.dsfpn.neck import DuallySupervisedFPN

CHANNELS = [4, 6, 8]
SIZES = [(13, 18), (7, 9), (4, 5)]  # odd: up-sampled to the finer size


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return [
        torch.randn(2, channels, *size)
        for channels, size in zip(CHANNELS, SIZES, strict=True)
    ]


def necks(**options):
    ours = DuallySupervisedFPN(CHANNELS, 8, **options)
    base = FPN(CHANNELS, 8, **options)
    base.load_state_dict(ours.state_dict())
    return ours, base


@pytest.mark.parametrize(
    'options',
    [
        dict(num_outs=4),
        dict(num_outs=5, add_extra_convs='on_input'),
        dict(num_outs=3, norm_cfg=dict(type='BN')),
        dict(num_outs=3, start_level=1),
    ],
)
def test_levels_are_those_of_fpn(maps, options):
    ours, base = necks(**options)
    for mode in (True, False):
        outs = ours.train(mode)(maps)
        assert isinstance(outs, tuple) and hasattr(outs, 'laterals') == mode
        for out, expected in zip(outs, base.train(mode)(maps), strict=True):
            assert torch.equal(out, expected)


def test_laterals_are_before_the_addition(maps):
    neck, _ = necks(num_outs=4)
    found = laterals_of(neck(maps))
    assert len(found) == 3
    for lateral, conv, x in zip(found, neck.lateral_convs, maps, strict=True):
        assert torch.equal(lateral, conv(x))
        assert lateral.requires_grad
    assert laterals_of(neck.eval()(maps, return_laterals=True))


def test_leaves_no_hooks(maps):
    """Even when the levels are wrong."""
    neck, _ = necks(num_outs=4)
    neck(maps)
    with pytest.raises(RuntimeError):
        neck(maps[::-1])
    assert not any(conv._forward_hooks for conv in neck.lateral_convs)


def test_laterals_of_another_neck(maps):
    with pytest.raises(TypeError, match='DuallySupervisedFPN in training'):
        laterals_of(FPN(CHANNELS, 8, 3)(maps))
