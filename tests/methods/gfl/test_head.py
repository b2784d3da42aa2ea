"""GFLAblationHead against mmdet's GFLHead and ATSSHead, and its switches."""

import math

import pytest
import torch
from helpers import make_feats
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.analysis.adapters import HeadRun, find_adapter
from mmdet_assigners.methods.gfl import functional as gfl

SIZE = 64
STRIDES = [8, 16]
BOXES = [[[3, 4, 30, 44], [10, 5, 60, 50], [20, 20, 31, 31]], [[1, 1, 60, 63]]]
EMPTY = [BOXES[0], []]
NONE = [[], []]
OURS = dict(type='BatchATSSAssigner', topk=9)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
QFL = dict(type='QualityFocalLoss', use_sigmoid=True)
TEST_CFG = ConfigDict(
    nms_pre=40,
    min_bbox_size=0,
    score_thr=0.0,
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=30,
)


def make_head(
    kind='GFLAblationHead', assigner=OURS, pos_weight=-1, noise=0.1, **kwargs
):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    plain = kwargs.get('quality', 'joint') == 'joint' and kind != 'ATSSHead'
    cfg = dict(
        type=kind,
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        norm_cfg=None,
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=4,
            scales_per_octave=1,
            strides=STRIDES,
        ),
        loss_cls=QFL if plain else FOCAL,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        train_cfg=ConfigDict(
            assigner=assigner, allowed_border=-1, pos_weight=pos_weight
        ),
        test_cfg=TEST_CFG,
    )
    head = MODELS.build({**cfg, **kwargs})
    head.init_weights()
    if not noise:
        return head
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) * noise)
    return head


def feats_of():
    return make_feats(STRIDES, size=(SIZE, SIZE))


def make_gts(boxes):
    return [
        InstanceData(
            bboxes=torch.tensor(b, dtype=torch.float32).view(-1, 4),
            labels=torch.arange(len(b)) % 3,
        )
        for b in boxes
    ]


def metas():
    """The second image is padded on the right."""
    return [
        dict(
            img_shape=(SIZE, width),
            pad_shape=(SIZE, width),
            scale_factor=(2.0, 0.5),
        )
        for width in (SIZE, 50)
    ]


def losses_of(head, boxes=BOXES):
    outs = head(feats_of())
    losses = head.loss_by_feat(*outs, make_gts(boxes), metas(), None)
    return {
        name: sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }


def grads_of(losses, head):
    head.zero_grad()
    sum(losses.values()).backward()
    return {name: p.grad for name, p in head.named_parameters()}


def predict(head, rescale=False):
    with torch.no_grad():
        found = head.predict_by_feat(
            *head(feats_of()), batch_img_metas=metas(), rescale=rescale
        )
    assert all(map(len, found))
    return found


def mmdets():
    return make_head('GFLHead', dict(type='ATSSAssigner', topk=9))


def test_default_is_mmdets_gfl_bit_for_bit():
    ours, theirs = (
        make_head(assigner=dict(type='ATSSAssigner', topk=9)),
        mmdets(),
    )
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    got = losses_of(ours)
    expected = losses_of(theirs)
    assert got == expected
    grads = grads_of(got, ours), grads_of(expected, theirs)
    for name, grad in grads[1].items():
        assert torch.equal(grads[0][name], grad), name
    # whatever the assigner
    for a, b in zip(predict(make_head()), predict(theirs), strict=True):
        for name in ('bboxes', 'scores', 'labels'):
            assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize(
    'boxes', [BOXES, EMPTY, NONE], ids=['two', 'one empty', 'none']
)
@pytest.mark.parametrize('pos_weight', [-1, 3])
def test_whole_batch_equals_mmdets_gfl(boxes, pos_weight):
    ours = make_head(pos_weight=pos_weight)
    theirs = make_head(
        'GFLHead', dict(type='ATSSAssigner', topk=9), pos_weight
    )
    got, expected = losses_of(ours, boxes), losses_of(theirs, boxes)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-6)
    grads = grads_of(got, ours)
    for name, grad in grads_of(expected, theirs).items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-4, atol=1e-5)


def test_unified_losses_change_nothing():
    unified = make_head(
        loss_cls=dict(
            type='GeneralizedFocalLoss', form='quality', use_sigmoid=True
        ),
        loss_dfl=dict(
            type='GeneralizedFocalLoss',
            form='distribution',
            beta=0,
            loss_weight=0.25,
        ),
    )
    got, expected = losses_of(unified), losses_of(mmdets())
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('boxes', [BOXES, NONE], ids=['two', 'none'])
def test_dirac_with_centerness_branch_is_atss(boxes):
    ours = make_head(reg_prior='dirac', quality='centerness_branch')
    theirs = make_head(
        'ATSSHead',
        dict(type='ATSSAssigner', topk=9),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
    )
    renamed = {
        name.replace('atss_centerness', 'gfl_quality').replace(
            'atss', 'gfl'
        ): value
        for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(
        {**renamed, 'integral.project': ours.integral.project}
    )
    for a, b in zip(predict(ours), predict(theirs), strict=True):
        assert torch.equal(a.bboxes, b.bboxes)
        assert torch.equal(a.scores, b.scores)
        assert 'box_sigmas' not in a
    got, expected = losses_of(ours, boxes), losses_of(theirs, boxes)
    got['loss_centerness'] = got.pop('loss_quality')
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-6)


def test_half_bins():
    """Bins of half the width: half the distances, twice the target."""
    wide, half = make_head(), make_head(delta=0.5)
    pred = torch.randn(5, 68)
    torch.testing.assert_close(half.distances(pred), wide.distances(pred) / 2)
    torch.testing.assert_close(
        half.distance_sigmas(pred), wide.distance_sigmas(pred) / 2
    )
    # 32 bins of half the width reach as far; certain predictions agree
    fine = make_head(delta=0.5, reg_max=32)
    one, two = torch.full((4, 17), -1e4), torch.full((4, 33), -1e4)
    for side, distance in enumerate([0, 3, 7, 16]):
        one[side, distance] = two[side, 2 * distance] = 0
    for head, logits in ((wide, one), (fine, two)):
        assert head.distances(logits.view(1, -1)).tolist() == [[0, 3, 7, 16]]


def test_box_sigmas_literal():
    """Two peaks, 2 and 6 bins of half a stride of 8: deviation 8 px."""
    head = make_head(delta=0.5)
    pred = torch.full((1, 4, 17), -1e4)
    pred[..., 2] = pred[..., 6] = 0
    anchor = torch.tensor([[16.0, 16, 48, 48]])
    found = head.decode_level(pred.flatten(1), anchor, 8, (SIZE, SIZE))
    boxes, sigmas = found['bboxes'], found['box_sigmas']
    torch.testing.assert_close(boxes, torch.tensor([[16.0, 16, 48, 48]]))
    torch.testing.assert_close(sigmas, torch.full((1, 4), 8.0))
    gauss = make_head(reg_prior='gaussian')
    pred = torch.tensor([[1.0, 2, 1, 2, 0, 0, 2 * math.log(3), 0]])
    found = gauss.decode_level(pred, anchor, 8, (SIZE, SIZE))
    boxes, sigmas = found['bboxes'], found['box_sigmas']
    assert boxes.tolist() == [[24, 16, 40, 48]]
    torch.testing.assert_close(sigmas, torch.tensor([[8.0, 8, 24, 8]]))


@pytest.mark.parametrize('prior', ['general', 'gaussian'])
def test_box_sigmas_follow_the_boxes(prior):
    """Finite, positive, and rescaled like the boxes (x / 2, y * 2)."""
    head = make_head(reg_prior=prior)
    for plain, scaled in zip(
        predict(head), predict(head, rescale=True), strict=True
    ):
        assert plain.box_sigmas.shape == plain.bboxes.shape
        assert (plain.box_sigmas > 0).all()
        factor = torch.tensor([0.5, 2, 0.5, 2])
        torch.testing.assert_close(scaled.bboxes, plain.bboxes * factor)
        torch.testing.assert_close(
            scaled.box_sigmas, plain.box_sigmas * factor
        )


def test_boxes_can_vote():
    head = make_head()
    head.test_cfg = ConfigDict(TEST_CFG, nms=dict(type='var_voting'))
    for result in predict(head):
        assert torch.isfinite(result.bboxes).all()


@pytest.mark.parametrize('quality', ['centerness_guided', 'iou_guided'])
def test_guided(quality):
    """Exponent 0 is no guide; 1 costs less, since qualities are below 1."""
    none = losses_of(make_head(quality='none'))
    off = losses_of(make_head(quality=quality, guide_eta=0.0))
    guided = losses_of(make_head(quality=quality))
    same_sum = losses_of(make_head(quality=quality, guide_normalize=True))
    torch.testing.assert_close(off['loss_cls'], none['loss_cls'])
    torch.testing.assert_close(same_sum['loss_cls'], none['loss_cls'])
    assert guided['loss_cls'] < none['loss_cls']
    assert guided['loss_bbox'] == none['loss_bbox']


def test_iou_branch_learns_the_iou():
    """Boxes that fit exactly: the target is 1, whatever the centerness."""
    head = make_head(
        reg_prior='dirac',
        quality='iou_branch',
        bbox_coder=dict(type='AnchorPointCoder', octave_base_scale=4),
    )
    gts = make_gts([[[8, 8, 40, 40]]] * 2)
    outs = [[x.detach() for x in maps] for maps in head(feats_of())]
    flat = head.flatten(outs, gts, metas())
    gt = head.assign_flat(flat).gt
    assert (gt >= 0).any()
    ltrb = head.encode(flat, head.matched_boxes(flat, gt)).clamp(min=0)
    start = 0
    for i, s in enumerate(STRIDES):
        side = SIZE // s
        part = ltrb[:, start : start + side * side]
        outs[1][i] = part.mT.reshape(2, 4, side, side)
        outs[2][i] = torch.full_like(outs[2][i], 30.0)
        start += side * side
    losses = head.loss_by_feat(*outs, gts, metas(), None)
    assert losses['loss_quality'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    outs[2] = [-x for x in outs[2]]
    losses = head.loss_by_feat(*outs, gts, metas(), None)
    assert losses['loss_quality'].item() == pytest.approx(30, rel=0.05)


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        ({}, {'loss_dfl'}),
        (dict(loss_dfl=None), set()),
        (dict(reg_prior='gaussian'), {'loss_gaussian'}),
        (dict(reg_prior='dirac'), set()),
        (dict(quality='iou_branch'), {'loss_dfl', 'loss_quality'}),
        (dict(quality='none', box_weight='centerness'), {'loss_dfl'}),
        (dict(reg_prior='gaussian', box_weight='one'), {'loss_gaussian'}),
    ],
)
@pytest.mark.parametrize(
    'boxes', [BOXES, EMPTY, NONE], ids=['two', 'one empty', 'none']
)
def test_losses_reach_every_parameter(options, names, boxes):
    head = make_head(**options)
    losses = losses_of(head, boxes)
    assert losses.keys() == {'loss_cls', 'loss_bbox', *names}
    for name, grad in grads_of(losses, head).items():
        assert grad is not None and torch.isfinite(grad).all(), name


def test_wild_uncertainty_of_negatives_is_harmless():
    head = make_head(reg_prior='gaussian')
    with torch.no_grad():
        head.gfl_alpha.bias.fill_(-200)  # exp(200) overflows
    losses = losses_of(head, NONE)
    assert losses['loss_gaussian'] == 0


def test_gaussian_init():
    head = make_head(reg_prior='gaussian', noise=0)
    assert head.gfl_alpha.weight.std() < 2e-4
    assert (head.gfl_reg.bias == 4).all()
    outs = head([torch.zeros_like(x) for x in feats_of()])
    assert (outs[1][0][:, :4] > 0).all()


@pytest.mark.parametrize('assigner', [OURS, dict(type='ATSSAssigner', topk=9)])
def test_assignment_is_mmdets(assigner):
    theirs = mmdets()
    runs = []
    for head in (make_head(assigner=assigner), theirs):
        feats = feats_of()
        run = HeadRun(head(feats), make_gts(BOXES), metas(), None, feats)
        runs.append(find_adapter(head).read(head, run))
    for a, b in zip(*runs, strict=True):
        inside = a.assigned_gt > -2
        assert torch.equal(a.assigned_gt[inside], b.assigned_gt[inside])
        assert (a.assigned_gt >= 0).any()


def test_assignment_shows_centerness():
    head = make_head(quality='centerness_branch')
    outs = head(feats_of())
    for result in head.get_assignment(outs, make_gts(BOXES), metas()):
        weight = result.weight[result.assigned_gt >= 0]
        assert (weight > 0).all() and (weight < 1).any()


def test_distribution_learns_the_distance():
    """Free logits under the losses: peaks within a bin of the target."""
    head = make_head()
    gts = make_gts([[[5, 9, 43, 51]]] * 2)
    outs = [
        [torch.zeros_like(x, requires_grad=True) for x in maps]
        for maps in head(feats_of())
    ]
    optimizer = torch.optim.Adam([x for maps in outs for x in maps], lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        sum(head.loss_by_feat(*outs, gts, metas(), None).values()).backward()
        optimizer.step()
    with torch.no_grad():
        flat = head.flatten(outs, gts, metas())
        positive = head.assign_flat(flat).gt >= 0
        boxes = head.decode(flat)[positive]
        torch.testing.assert_close(
            boxes, gts[0].bboxes.expand_as(boxes), rtol=0, atol=2
        )
        logits = flat.deltas[positive].unflatten(-1, (4, -1))
        peaks = logits.argmax(-1)
        assert (peaks - gfl.expected_distance(logits)).abs().max() <= 1
        assert gfl.distance_spread(logits).max() < 1.5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(reg_prior='laplace'), "reg_prior must be one of .*'laplace'"),
        (dict(quality='iou'), "quality must be one of .*'iou'"),
        (dict(box_weight='iou'), "box_weight must be one of .*'iou'"),
        (dict(delta=0.0), 'delta must be positive, got 0.0'),
        (dict(reg_max=0), 'reg_max must be at least 1, got 0'),
        (dict(guide_eta=-1.0), 'guide_eta must be at least 0'),
        (dict(loss_cls=FOCAL), "FocalLoss does not fit quality='joint'"),
        (
            dict(quality='none', loss_cls=QFL),
            "QualityFocalLoss does not fit quality='none'",
        ),
        (
            dict(bbox_coder=dict(type='AnchorPointCoder')),
            "does not fit reg_prior='general'",
        ),
        (
            dict(
                reg_prior='dirac',
                bbox_coder=dict(type='DistancePointBBoxCoder'),
            ),
            "does not fit reg_prior='dirac'",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make_head(**options)


def test_unknown_key():
    with pytest.raises(TypeError, match='qualty'):
        make_head(qualty='joint')
