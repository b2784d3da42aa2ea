"""FCOSAblationHead against mmdet's FCOSHead, and its switches."""

import pytest
import torch
from helpers import make_feats, make_gts
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from mmdet_assigners.analysis.adapters import HeadRun, find_adapter
from mmdet_assigners.ops.anchor_points import centerness

SIZE = 64
STRIDES = (8, 16)
RANGES = ((-1, 24), (24, 1e8))
BOXES = [[[3, 4, 30, 44], [10, 5, 60, 50], [20, 20, 31, 31]], [[1, 1, 60, 63]]]
LABELS = [[0, 2, 1], [2]]
TEST_CFG = ConfigDict(
    nms_pre=1000,
    min_bbox_size=0,
    score_thr=0.0,
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=100,
)


def make_head(kind='FCOSAblationHead', seed=0, **kwargs):
    init_default_scope('mmdet')
    torch.manual_seed(seed)
    cfg = dict(
        type=kind,
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        regress_ranges=RANGES,
        norm_cfg=None,
        test_cfg=TEST_CFG,
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.1),
    )
    head = MODELS.build({**cfg, **kwargs})
    head.init_weights()
    return head


def feats_of(batch=2):
    return make_feats(STRIDES, batch, (SIZE, SIZE))


def make_outs(maps=3, seed=2):
    """Random leaves in float64: class, distances and centerness."""
    generator = torch.Generator().manual_seed(seed)

    def level(channels, s):
        shape = (2, channels, SIZE // s, SIZE // s)
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    outs = [
        [level(3, s) * 4 - 2 for s in STRIDES],
        [level(4, s) * 30 + 1 for s in STRIDES],
        [level(1, s) * 4 - 2 for s in STRIDES],
    ][:maps]
    for maps in outs:
        for x in maps:
            x.requires_grad_()
    return outs


def gts_of(boxes=BOXES, labels=LABELS):
    return make_gts(boxes, labels, torch.float64)


def metas():
    return [dict(img_shape=(SIZE, SIZE), scale_factor=(1.0, 1.0))] * 2


def losses_and_grads(head, outs, gts):
    losses = head.loss_by_feat(*outs, gts, metas(), None)
    leaves = [x for maps in outs for x in maps]
    total = sum(losses.values())
    return losses, torch.autograd.grad(total, leaves, allow_unused=True)


@pytest.mark.parametrize('kwargs', [
    {},
    dict(norm_on_bbox=True),
    dict(center_sampling=True, centerness_on_reg=True),
    dict(loss_bbox=dict(type='GIoULoss', loss_weight=2.0)),
    dict(loss_bbox=dict(type='IoULoss', mode='linear')),
])  # fmt: skip
@pytest.mark.parametrize(
    ('boxes', 'labels'),
    [(BOXES, LABELS), ([BOXES[0], []], [LABELS[0], []]), ([[], []], [[], []])],
    ids=['two', 'one empty', 'none'],
)
def test_losses_equal_mmdet(kwargs, boxes, labels):
    """Values and gradients in float64."""
    gts = make_gts(boxes, labels)
    ours, grads = losses_and_grads(make_head(**kwargs), make_outs(), gts)
    theirs, expected = losses_and_grads(
        make_head('FCOSHead', **kwargs), make_outs(), gts
    )
    assert ours.keys() == theirs.keys()
    single = 1e-6  # CrossEntropyLoss casts its targets to float32
    for name, value in theirs.items():
        rtol = single if name == 'loss_centerness' else 1e-12
        torch.testing.assert_close(
            ours[name].double(), value.double(), rtol=rtol, atol=1e-12
        )
    for index, (one, two) in enumerate(zip(grads, expected, strict=True)):
        # mmdet's sum of nothing has no gradient at all
        two = torch.zeros_like(one) if two is None else two
        rtol = single if index >= 4 else 1e-12
        torch.testing.assert_close(one, two, rtol=rtol, atol=1e-14)


@pytest.mark.parametrize('norm_on_bbox', [False, True])
def test_network_and_detections_equal_mmdet(norm_on_bbox):
    """The same state dict, and the same detections bit for bit."""
    head = make_head(norm_on_bbox=norm_on_bbox)
    other = make_head('FCOSHead', norm_on_bbox=norm_on_bbox, seed=1)
    other.load_state_dict(head.state_dict(), strict=True)
    for training in (True, False):
        head.train(training), other.train(training)
        with torch.no_grad():
            ours, theirs = head(feats_of()), other(feats_of())
        for one, two in zip(ours, theirs, strict=True):
            assert all(map(torch.equal, one, two))
    found = head.predict_by_feat(*ours, batch_img_metas=metas())
    expected = other.predict_by_feat(*theirs, batch_img_metas=metas())
    for one, two in zip(found, expected, strict=True):
        assert len(one) > 10
        assert torch.equal(one.bboxes, two.bboxes)
        assert torch.equal(one.scores, two.scores)


@pytest.mark.parametrize('norm_on_bbox', [False, True])
@pytest.mark.parametrize('kind', ['none', 'from_reg'])
def test_without_branch(kind, norm_on_bbox):
    """The towers and the other predictions stay what they are."""
    with_branch = make_head(norm_on_bbox=norm_on_bbox)
    head = make_head(use_centerness=kind, norm_on_bbox=norm_on_bbox)
    state = with_branch.state_dict()
    names = [name for name in state if 'centerness' not in name]
    assert len(names) == len(state) - 2
    head.load_state_dict({name: state[name] for name in names}, strict=True)
    for training in (True, False):
        head.train(training), with_branch.train(training)
        ours, theirs = head(feats_of()), with_branch(feats_of())
        assert len(ours) == 2
        for one, two in zip(ours, theirs[:2], strict=True):
            assert all(map(torch.equal, one, two))


def all_detections(head, outs):
    """Of the first image: score, factor (1 without) and nothing dropped."""
    found = head.predict_by_feat(
        *outs,
        batch_img_metas=metas(),
        cfg=ConfigDict(nms_pre=1000, score_thr=0.0, min_bbox_size=-1),
        with_nms=False,
    )[0]
    return found.scores, found.get('score_factors', torch.ones(1))


def test_from_reg_ranks_by_the_centerness_of_the_predicted_box():
    head = make_head(use_centerness='from_reg').eval()
    cls, reg = make_outs(2)
    scores, factors = all_detections(head, (cls, reg))
    factor = torch.cat(
        [centerness(x[0].movedim(0, -1)).flatten() for x in reg]
    )
    score = torch.cat([x[0].flatten(1).T for x in cls]).sigmoid()
    expected = (score * factor[:, None]).flatten()
    torch.testing.assert_close(
        (scores * factors).sort().values, expected.sort().values
    )


def test_none_ranks_by_the_class_score():
    head = make_head(use_centerness='none').eval()
    cls, reg = make_outs(2)
    scores, factors = all_detections(head, (cls, reg))
    score = torch.cat([x[0].flatten() for x in cls]).sigmoid()
    torch.testing.assert_close(scores.sort().values, score.sort().values)
    assert factors.tolist() == [1]


def test_box_loss_weights():
    """'none' and 'from_reg' train alike; weights change the box loss only."""
    gts = gts_of()
    outs = make_outs()
    default = make_head().loss_by_feat(*outs, gts, metas(), None)
    plain = make_head(weight_reg_by_centerness=False)
    plain = plain.loss_by_feat(*outs, gts, metas(), None)
    assert plain['loss_bbox'] != default['loss_bbox']
    for name in ('loss_cls', 'loss_centerness'):
        assert torch.equal(plain[name], default[name])
    for kind in ('none', 'from_reg'):
        head = make_head(use_centerness=kind)
        losses = head.loss_by_feat(*outs[:2], gts, metas(), None)
        assert losses.keys() == {'loss_cls', 'loss_bbox'}
        assert torch.equal(losses['loss_bbox'], plain['loss_bbox'])
        head = make_head(use_centerness=kind, weight_reg_by_centerness=True)
        losses = head.loss_by_feat(*outs[:2], gts, metas(), None)
        assert torch.equal(losses['loss_bbox'], default['loss_bbox'])


def test_scale_switch():
    head = make_head(use_scale=False)
    assert not [name for name in head.state_dict() if 'scales' in name]
    other = make_head()
    other.load_state_dict(head.state_dict(), strict=False)  # scales are 1
    for one, two in zip(
        head(feats_of())[1], other(feats_of())[1], strict=True
    ):
        assert torch.equal(one, two)


def test_convolutions_without_norm_have_a_bias():
    assert make_head(norm_cfg=None).cls_convs[0].conv.bias is not None
    group = dict(type='GN', num_groups=2)
    assert make_head(norm_cfg=group).cls_convs[0].conv.bias is None


def test_assignment_equals_mmdet():
    outs, gts = make_outs(), gts_of()
    head = make_head()
    ours = head.get_assignment(outs, gts, metas())
    other = make_head('FCOSHead')
    adapter = find_adapter(other)
    theirs = adapter.read(other, HeadRun(outs, gts, metas(), [None] * 2, []))
    assert not find_adapter(head).uses_predictions
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one.assigned_gt, two.assigned_gt)
        assert (one.assigned_gt >= 0).sum() > 5
        torch.testing.assert_close(one.weight.float(), two.weight)
        assert torch.equal(one.stride, two.stride)
    plain = make_head(use_centerness='none').get_assignment(
        outs[:2], gts, metas()
    )
    assert (plain[0].weight == 1).all()


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (dict(use_centerness='both'), "branch, none, from_reg, got 'both'"),
        (dict(strides=(8,)), 'regress_ranges has 2 levels but strides has 1'),
    ],
)
def test_wrong_arguments(bad, message):
    with pytest.raises(ValueError, match=message):
        make_head(**bad)


def test_unknown_argument():
    with pytest.raises(TypeError, match='use_center'):
        make_head(use_center=True)
