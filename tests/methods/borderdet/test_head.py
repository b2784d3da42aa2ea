"""BorderDetHead: against mmdet's FCOSHead, its second stage, detections."""

import math
from collections import Counter

import pytest
import torch
from helpers import make_feats, make_gts
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

from mmdet_assigners.analysis.adapters import HeadRun, find_adapter
from mmdet_assigners.methods.borderdet import head as border_det_head

SIZE = 64
STRIDES = (8, 16)
RANGES = ((-1, 24), (24, 1e8))
BOXES = [[[3, 4, 30, 44], [10, 5, 60, 50], [20, 20, 31, 31]], [[1, 1, 60, 63]]]
LABELS = [[0, 2, 1], [2]]
FCOS = dict(
    center_sampling=True,
    norm_on_bbox=True,
    centerness_on_reg=True,
    conv_bias=True,
    loss_bbox=dict(type='GIoULoss', eps=1.1920929e-07),
)
CFG = ConfigDict(
    score_thr=0.05,
    nms_pre=1000,
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=100,
)
META = dict(img_shape=(SIZE, SIZE), scale_factor=(1.0, 1.0))


def make_head(kind='BorderDetHead', seed=0, **kwargs):
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
        norm_cfg=dict(type='GN', num_groups=2),
        test_cfg=CFG,
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.3),
    )
    if kind != 'FCOSHead':
        cfg |= dict(border_cls_channels=4, border_reg_channels=2)
    head = MODELS.build({**cfg, **kwargs})
    head.init_weights()
    return head


def feats_of(batch=2):
    return make_feats(STRIDES, batch, (SIZE, SIZE))


def gts_of(boxes=BOXES, labels=LABELS):
    return make_gts(boxes, labels)


def losses_of(head, gts=None, feats=None):
    outs = head(feats or feats_of())
    return head.loss_by_feat(*outs, gts or gts_of(), [META] * 2, None)


def good_bias(head, ltrb=2.0):
    """Coarse boxes of about 4 x 4 strides, some of which are positive."""
    with torch.no_grad():
        head.conv_reg.bias.fill_(ltrb)
    return head


def test_first_stage_is_fcos():
    """Network, and with mmdet's points the losses, of mmdet's FCOSHead."""
    ours = good_bias(make_head(point_offset=0.5))
    parent = make_head('FCOSHead', **FCOS)
    state = ours.state_dict()
    parent.load_state_dict({name: state[name] for name in parent.state_dict()})
    feats = feats_of()
    parent.eval()
    for found, expected in zip(ours(feats)[:3], parent(feats), strict=True):
        for value, wanted in zip(found, expected, strict=True):
            assert torch.equal(value, wanted)
    parent.train()
    wanted = parent.loss_by_feat(*parent(feats), gts_of(), [META] * 2, None)
    found = losses_of(ours)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)
    assert wanted['loss_bbox'] > 0


def test_initial_scores():
    """Both class scores start at 0.01, weights at N(0, 0.01)."""
    head = make_head(
        init_cfg=border_det_head._INIT, in_channels=64, feat_channels=64
    )
    for layer in (head.conv_cls, head.border_cls_score):
        expected = torch.full_like(layer.bias, -math.log(99))
        torch.testing.assert_close(layer.bias, expected)
    weight = head.border_cls_subnet.ltrb_conv[0].weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_same_outputs_in_training_and_at_test():
    head, feats = make_head(), feats_of()
    outs, other = head.train()(feats), head.eval()(feats)
    for maps, expected in zip(outs, other, strict=True):
        assert all(map(torch.equal, maps, expected))


class Calls(TorchDispatchMode):
    """Counts the calls of operators of this package."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == 'mmdet_assigners':
            self.found[func.name().partition('::')[2]] += 1
        return func(*args, **(kwargs or {}))


def test_one_call_per_branch():
    """However many levels there are."""
    head = good_bias(make_head())
    with Calls() as calls:
        sum(losses_of(head).values()).backward()
    assert calls.found == dict(border_align=2, border_align_backward=2)


def test_second_stage_does_not_train_the_coarse_boxes():
    head = good_bias(make_head())
    losses = losses_of(head)
    assert losses['loss_border_bbox'] > 0
    (losses['loss_border_cls'] + losses['loss_border_bbox']).backward()
    assert head.conv_reg.weight.grad is None
    assert all(scale.scale.grad is None for scale in head.scales)
    # the towers are shared
    assert head.reg_convs[0].conv.weight.grad.abs().sum() > 0


def test_normalizers_are_means_of_processes(monkeypatch):
    """One message; twice the positives halve every loss."""
    head = good_bias(make_head())
    expected = losses_of(head)
    seen = []

    def twice(tensor):
        seen.append(tensor.clone())
        return tensor * 2

    monkeypatch.setattr(border_det_head, 'reduce_mean', twice)
    found = losses_of(head)
    assert len(seen) == 1 and seen[0].shape == (3,)
    assert (seen[0] >= 1).all()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name] / 2, msg=name)


@pytest.mark.parametrize(
    'boxes',
    [[[], []], [[], BOXES[1]], [[[5, 5, 5, 5]], [[99, 99, 120, 120]]]],
    ids=['none', 'one image', 'no area and outside'],
)
def test_few_objects(boxes):
    head = make_head()
    gts = gts_of(boxes, [[1] * len(b) for b in boxes])
    losses = losses_of(head, gts)
    assert losses.keys() == losses_of(head).keys()
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_all_coarse_boxes_are_points():
    head = good_bias(make_head(), -100.0)
    outs = head(feats_of())
    assert all((level == 0).all() for level in outs[1])
    losses = losses_of(head)
    assert losses['loss_border_bbox'] == 0
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    found = head.predict_by_feat(*outs, batch_img_metas=[META] * 2)
    assert len(found[0]) and found[0].bboxes.isfinite().all()
    cfg = ConfigDict(CFG, min_bbox_size=0)
    found = head.predict_by_feat(*outs, batch_img_metas=[META] * 2, cfg=cfg)
    assert len(found[0]) == 0


def test_assignments():
    head = good_bias(make_head())
    outs, gts = head(feats_of()), gts_of()
    first = head.get_assignment(outs, gts, [META] * 2)
    assert first[0].priors.shape == (80, 2)
    assert (first[0].priors[0] == 0).all()  # the corner of its cell
    second = head.get_assignment(outs, gts, [META] * 2, stage=2)
    assert second[0].priors.shape == (80, 4)
    flat = head.flatten(outs, gts)
    assert torch.equal(second[1].priors, flat.coarse[1])
    for stage in (first, second):
        assert any((one.assigned_gt >= 0).any() for one in stage)
    with pytest.raises(ValueError, match='stage must be 1 or 2, got 3'):
        head.get_assignment(outs, gts, [META] * 2, stage=3)
    adapter = find_adapter(head)
    run = HeadRun(outs, gts, [META] * 2, [None] * 2, feats_of())
    assert len(adapter.read(head, run)) == 2
    assert not adapter.uses_predictions


def levels(score, boxes):
    """One level: logits that give `score` in stage 1, sure in stage 2."""
    n = len(boxes)
    logit = torch.tensor(score).square().logit()[:, None]
    sure = torch.full((n, 1), 50.0)
    return [
        [logit],
        [sure],
        [sure],
        [torch.zeros(n, 4)],
        [torch.tensor(boxes, dtype=torch.float32)],
    ]


def test_detections_by_hand():
    """NMS per class, refined boxes, equal scores at the limit all kept."""
    head = make_head(num_classes=1)
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [40, 0, 50, 10]]
    data = levels([0.81, 0.64, 0.36, 0.36], boxes)
    data[3][0][0] = torch.tensor([0.2, 0, 0, 1.0])
    found = head.detect(*data, cfg=CFG)
    torch.testing.assert_close(
        found.scores, torch.tensor([0.9, 0.8, 0.6, 0.6])
    )
    # half the sides times the deltas
    assert found.bboxes[0].tolist() == pytest.approx([1, 0, 10, 15])
    data[3][0].zero_()  # now the second overlaps the first
    found = head.detect(*data, cfg=CFG)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.6, 0.6]))
    cfg = ConfigDict(CFG, max_per_img=2)
    assert len(head.detect(*data, cfg=cfg)) == 3  # a tie
    cfg = ConfigDict(CFG, max_per_img=1)
    assert len(head.detect(*data, cfg=cfg)) == 1
    cfg = ConfigDict(CFG, score_thr=0.7)
    torch.testing.assert_close(
        head.detect(*data, cfg=cfg).scores, torch.tensor([0.9])
    )
    assert len(head.detect(*data, cfg=CFG, with_nms=False)) == 4


def test_nms_keeps_classes_apart_left_of_the_image():
    """Boxes that mmcv's offset between two classes would lay on each other."""
    head = make_head(num_classes=2)
    data = levels([0.8, 0.8], [[60, 60, 100, 100], [-41, -41, -1, -1]])
    data[0] = [torch.tensor([[3.0, -50.0], [-50.0, 2.0]])]
    data[2] = [torch.full((2, 2), 50.0)]
    found = head.detect(*data, cfg=CFG)
    assert found.labels.tolist() == [0, 1]
    assert found.bboxes.tolist() == data[4][0].tolist()


def test_clip_after_nms_and_rescale():
    head = good_bias(make_head().eval(), 6.0)
    with torch.no_grad():
        outs = head(feats_of())
    small = [dict(img_shape=(40, 48), scale_factor=(2.0, 4.0))] * 2
    found = head.predict_by_feat(*outs, batch_img_metas=small)[0]
    assert len(found) and found.bboxes.amin() >= 0
    assert found.bboxes[:, 0::2].amax() == 48
    assert found.bboxes[:, 1::2].amax() == 40
    scaled = head.predict_by_feat(*outs, batch_img_metas=small, rescale=True)
    factor = torch.tensor([2.0, 4.0, 2.0, 4.0])
    torch.testing.assert_close(scaled[0].bboxes, found.bboxes / factor)


def test_exponential_distances():
    """norm_on_bbox=False: pixels from an exponential, as in FCOS."""
    head = make_head(norm_on_bbox=False, centerness_on_reg=False)
    outs = head(feats_of())
    assert all((level > 0).all() for level in outs[1])
    assert sum(losses_of(head).values()).isfinite()


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('border_iou_thr', 0, r'border_iou_thr must be in \(0, 1\], got 0'),
        ('border_std', 0.0, 'border_std must be positive, got 0.0'),
        ('point_offset', 1, r'point_offset must be in \[0, 1\), got 1'),
        ('regress_ranges', RANGES[:1], 'has 1 levels but strides has 2'),
    ],
)
def test_bad_options(key, value, message):
    with pytest.raises(ValueError, match=message):
        make_head(**{key: value})


def test_wrong_key():
    with pytest.raises(TypeError, match='border_thr'):
        make_head(border_thr=0.5)


def test_proposal_network():
    """One class, the same losses; labels are all 0."""
    head = good_bias(make_head('BorderRPNHead', num_classes=1))
    gts = gts_of(labels=[[0] * 3, [0]])
    assert losses_of(head, gts).keys() == losses_of(make_head()).keys()
    cfg = ConfigDict(
        nms_pre=50,
        max_per_img=20,
        nms=dict(type='nms', iou_threshold=0.7),
        min_bbox_size=0,
    )
    outs = head(feats_of())
    found = head.predict_by_feat(*outs, batch_img_metas=[META] * 2, cfg=cfg)
    assert 0 < len(found[0]) <= 20 and (found[0].labels == 0).all()
    with pytest.raises(ValueError, match='must be 1, got 3'):
        make_head('BorderRPNHead')
