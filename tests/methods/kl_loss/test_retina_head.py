"""KL-Loss in RetinaNet, and variance voting of dense heads."""

import pytest
import torch
from helpers import BOXES, TINY_RETINA, demo_batch, make_feats, total_loss
from mmdet.models.dense_heads import RetinaHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.models.dense_heads.box_sigmas import BoxSigmaMixin
from mmdet_assigners.ops.var_voting import VotingOptions, var_voting

STRIDES = [8, 16, 32]
NMS = dict(type='nms', iou_threshold=0.5)
CORNERS = dict(type='CornerDeltaBBoxCoder', target_stds=0.1)


def build(kind='KLRetinaHead', nms=NMS, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = dict(
        type=kind,
        **TINY_RETINA,
        train_cfg=ConfigDict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=ConfigDict(
            nms_pre=200,
            min_bbox_size=0,
            score_thr=0.3,
            nms=nms,
            max_per_img=40,
        ),
    )
    return MODELS.build({**config, **options})


def randomize(head):
    torch.manual_seed(1)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return head.eval()


def inputs(boxes, scale=(1.0, 1.0)):
    feats = make_feats(STRIDES, len(boxes))
    samples = demo_batch(boxes)['data_samples']
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=scale))
    return feats, samples


def predict(head, scale=(1.0, 1.0), rescale=False):
    feats, samples = inputs([BOXES, BOXES], scale)
    with torch.no_grad():
        return head.predict(feats, samples, rescale)


@pytest.mark.parametrize('boxes', [[BOXES, BOXES[:1]], [BOXES, []], [[], []]])
def test_without_variance_it_is_retinanet(boxes):
    """alpha = 0 is smooth L1 on corner deltas."""
    ours = randomize(build())
    torch.nn.init.zeros_(ours.retina_alpha.weight)
    torch.nn.init.zeros_(ours.retina_alpha.bias)
    smooth = dict(type='SmoothL1Loss', beta=1.0)
    theirs = build(RetinaHead, bbox_coder=CORNERS, loss_bbox=smooth)
    state = ours.state_dict()
    for name in ('retina_alpha.weight', 'retina_alpha.bias'):
        state.pop(name)
    theirs.load_state_dict(state)
    feats, samples = inputs(boxes)
    losses = ours.loss(feats, samples)
    expected = theirs.loss(feats, samples)
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        torch.testing.assert_close(value, sum(expected[name]))
    total_loss(losses).backward()
    total_loss(expected).backward()
    torch.testing.assert_close(
        ours.retina_reg.weight.grad, theirs.retina_reg.weight.grad
    )
    grad = ours.retina_alpha.weight.grad
    assert (grad.abs().sum() > 0) == any(map(len, boxes))


def test_other_nms_equals_mmdet():
    ours = randomize(build())
    theirs = build(RetinaHead, bbox_coder=CORNERS)
    state = ours.state_dict()
    for name in ('retina_alpha.weight', 'retina_alpha.bias'):
        state.pop(name)
    theirs.load_state_dict(state)
    theirs.eval()
    for found, expected in zip(
        predict(ours, (2.0, 0.5), True),
        predict(theirs, (2.0, 0.5), True),
        strict=True,
    ):
        assert len(expected) > 10
        assert set(found.keys()) == {*expected.keys(), 'box_sigmas'}
        for name in expected.keys():
            assert torch.equal(found[name], expected[name]), name


def test_network_and_initialization():
    head = build(feat_channels=64)
    head.init_weights()
    assert head.retina_alpha.weight.shape == (16, 64, 3, 3)
    assert head.retina_reg.weight.shape == (16, 64, 3, 3)
    std = head.retina_alpha.weight.std().item()
    assert std == pytest.approx(1e-4, rel=0.1)
    assert (head.retina_alpha.bias == 0).all()


def candidates(head):
    """What mmdet's code gives to the post-processing."""
    seen = []
    feats, samples = inputs([BOXES, BOXES])
    post = BoxSigmaMixin._bbox_post_process

    def spy(self, results, *args, **options):
        seen.append(results.clone())
        return post(self, results, *args, **options)

    patch = pytest.MonkeyPatch()
    with torch.no_grad(), patch.context() as m:
        m.setattr(BoxSigmaMixin, '_bbox_post_process', spy)
        head.predict(feats, samples)
    return seen[0]


@pytest.mark.parametrize('units', ['auto', 'normalized', 'pixel'])
def test_voting_equals_the_function(units):
    nms = dict(type='var_voting', sigma_units=units, sigma_t=0.03)
    head = randomize(build(nms=nms))
    found = predict(head)[0]
    seen = candidates(head)
    name = 'box_sigmas' if units == 'pixel' else 'box_sigmas_normalized'
    assert not torch.allclose(seen.box_sigmas, seen.box_sigmas_normalized)
    votes = var_voting(
        seen.bboxes,
        seen.scores,
        seen[name],
        seen.labels,
        VotingOptions(sigma_t=0.03),
    )
    order = votes.scores.argsort(descending=True)[:40]
    torch.testing.assert_close(found.bboxes, votes.boxes[order])
    torch.testing.assert_close(found.scores, votes.scores[order])
    rows = votes.index[order]
    torch.testing.assert_close(found.box_sigmas, seen.box_sigmas[rows])
    assert 'box_sigmas_normalized' not in found


def test_sigmas_belong_to_their_anchor():
    """alpha that depends on anchor and side, read back from detections."""
    head = randomize(build(nms=dict(type='nms', iou_threshold=1.0)))
    head.test_cfg.update(score_thr=0.0, max_per_img=-1, nms_pre=9999)
    torch.nn.init.zeros_(head.retina_alpha.weight)
    torch.nn.init.zeros_(head.retina_reg.weight)
    torch.nn.init.zeros_(head.retina_reg.bias)
    alpha = torch.arange(16.0).view(4, 4) / 4  # 4 anchors; x1, x2, y1, y2
    head.retina_alpha.bias.data = alpha.flatten()
    seen = candidates(head)
    # 2 classes of the 4 anchors at the first location
    sizes = [(16, 20), (8, 10), (4, 5)]
    grid = head.prior_generator.grid_priors(sizes, device='cpu')
    anchors = torch.cat(grid)
    size = anchors[:, 2:] - anchors[:, :2]
    unit = torch.cat((size, size), 1) / 10
    sigma = (alpha[:, [0, 2, 1, 3]] / 2).exp().repeat(len(anchors) // 4, 1)
    x = anchors.clone()
    x[:, 0::2].clamp_(0, 160)
    x[:, 1::2].clamp_(0, 128)
    order = torch.cat((x, unit * sigma, sigma), 1)
    found = torch.cat(
        (seen.bboxes, seen.box_sigmas, seen.box_sigmas_normalized), 1
    )

    def lines(rows):
        return {tuple(round(v, 2) for v in row) for row in rows.tolist()}

    assert lines(found) == lines(order)


def test_rescaling():
    nms = dict(type='var_voting', sigma_units='pixel', mode='hard')
    head = randomize(build(nms=nms))
    scale = torch.tensor([2.0, 4.0, 2.0, 4.0])
    for small, large in zip(
        predict(head, (2.0, 4.0), True),
        predict(head, (2.0, 4.0)),
        strict=True,
    ):
        assert len(small)
        # pixels of the original shrink by side: the same average
        torch.testing.assert_close(small.bboxes * scale, large.bboxes)
        torch.testing.assert_close(small.box_sigmas * scale, large.box_sigmas)


class Plain(BoxSigmaMixin, RetinaHead):
    """A head that doesn't know its sigmas."""


def test_head_without_sigmas():
    voting = dict(type='var_voting')
    head = randomize(build(Plain, nms=voting))
    with pytest.raises(ValueError, match='needs box_sigmas, which Plain does'):
        predict(head)
    head = randomize(build(Plain))
    assert len(predict(head)[0]) > 0
    voting['sigma_units'] = 'normalized'
    head = randomize(build(Plain, nms=voting))
    with pytest.raises(ValueError, match='needs box_sigmas_normalized'):
        predict(head)


def test_head_with_pixels_only():
    head = randomize(build(Plain, nms=dict(type='var_voting')))
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [40, 40, 50, 50]])
    results = InstanceData(
        bboxes=boxes,
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.zeros(3, dtype=torch.long),
        box_sigmas=torch.tensor([[1.0] * 4, [1e-4] * 4, [1.0] * 4]),
    )
    found = head._bbox_post_process(results.clone(), head.test_cfg)
    assert found.bboxes[0].tolist() == pytest.approx([0, 0, 10, 8])
    assert found.box_sigmas[0].tolist() == [1.0] * 4
    assert found.scores[0].item() == pytest.approx(0.9)
    raw = head._bbox_post_process(
        results.clone(), head.test_cfg, with_nms=False
    )
    assert torch.equal(raw.bboxes, boxes)
    empty = head._bbox_post_process(results[:0], head.test_cfg)
    assert empty.bboxes.shape == empty.box_sigmas.shape == (0, 4)


def test_assignment_for_images():
    head = randomize(build())
    feats, samples = inputs([BOXES, BOXES[:1]])
    gts, _, metas = unpack_gt_instances(samples)
    with torch.no_grad():
        found = head.get_assignment(head(feats), gts, metas)
    assert {*found[1].assigned_gt.tolist()} <= {-2, -1, 0}
    assert (found[0].assigned_gt >= 0).any()


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        (
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder')),
            TypeError,
            'bbox_coder must be a CornerDeltaBBoxCoder',
        ),
        (
            dict(loss_bbox=dict(type='L1Loss')),
            TypeError,
            'loss_bbox must be a KLLoss, got L1Loss',
        ),
        (dict(reg_decoded_bbox=True), ValueError, 'reg_decoded_bbox must be'),
    ],
)
def test_refuses(options, error, text):
    with pytest.raises(error, match=text):
        build(**options)
