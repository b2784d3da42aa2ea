"""The selection network of SAPD."""

import pytest
import torch
from helpers import make_feats
from mmdet.registry import MODELS

import mmdet_assigners  # noqa: F401

STRIDES = (8, 16, 32)


def make_net(**kwargs):
    torch.manual_seed(0)
    cfg = dict(type='mmdet.FeatureSelectNet', in_channels=8, strides=STRIDES)
    cfg['init_cfg'] = dict(type='Normal', layer=['Conv2d', 'Linear'], std=0.2)
    net = MODELS.build({**cfg, **kwargs})
    net.init_weights()
    return net


def feats_of(batch, size=128):
    return make_feats(STRIDES, batch, (size, size))


ROIS = torch.tensor([[0.0, 32, 40, 96, 80], [1, 2, 3, 100, 30]])


def test_shapes_and_initialization():
    net = make_net(channels=64, init_cfg=None)
    assert [tuple(c.weight.shape) for c in net.convs] == [
        (64, 24, 3, 3),
        (64, 64, 3, 3),
        (64, 64, 3, 3),
    ]
    assert 0.005 < net.convs[1].weight.std() < 0.015
    assert (net.fc.bias == 0).all()
    assert net(feats_of(2), ROIS).shape == (2, 3)
    assert make_net().convs[0].out_channels == 8  # as the features


def test_looks_at_the_same_box_on_every_level():
    """Maps that hold their x coordinate give the box's center everywhere."""
    net, seen = make_net(), []
    feats = [
        ((torch.arange(128 // s) + 0.5) * s).expand(1, 8, 128 // s, -1)
        for s in STRIDES
    ]
    net.convs[0].register_forward_pre_hook(lambda _, args: seen.extend(args))
    net(feats, ROIS[:1])
    middle = seen[0].view(3, 8, 7, 7)[:, :, :, 3]
    torch.testing.assert_close(middle, torch.full_like(middle, 64.0))


def test_reads_any_memory_format():
    net, feats = make_net(), feats_of(2)
    last = [feat.to(memory_format=torch.channels_last) for feat in feats]
    torch.testing.assert_close(net(last, ROIS), net(feats, ROIS))


def test_parts_equal_whole(monkeypatch):
    """Above a number of boxes the network works on parts of them."""
    net, feats = make_net(), feats_of(2)
    corner = torch.rand(7, 2) * 60
    rois = torch.cat([torch.arange(7)[:, None] % 2, corner, corner + 40], 1)

    def run():
        net.zero_grad()
        logits = net(feats, rois)
        logits.square().sum().backward()
        return logits.detach(), net.convs[0].weight.grad.clone()

    whole = run()
    monkeypatch.setattr('mmdet_assigners.methods.sapd.select_net._MAX_ROIS', 3)
    for one, two in zip(run(), whole, strict=True):
        torch.testing.assert_close(one, two)


def test_box_without_area_is_finite():
    logits = make_net()(feats_of(1), torch.tensor([[0.0, 9, 9, 9, 9]]))
    assert logits.isfinite().all()


def test_bad_arguments():
    with pytest.raises(ValueError, match='must be at least 1, got 0'):
        make_net(sampling_ratio=0)
    with pytest.raises(ValueError, match=r'feats has 2 levels.*for 3'):
        make_net()(feats_of(2)[:2], ROIS)
