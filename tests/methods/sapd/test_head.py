"""SAPDHead and its selection network."""

import copy

import pytest
import torch
from helpers import demo_batch, losses_of, make_feats, mini_config, total_loss
from mmdet.models.dense_heads import AnchorFreeHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.engine.hooks import TrainProgress
from mmdet_assigners.methods.sapd import functional as sapd
from mmdet_assigners.utils import config_path

SIZE = 128
STRIDES = (8, 16, 32)
BOXES = [[10, 12, 60, 50], [30, 40, 126, 120], [70, 8, 118, 36]]
TEST_CFG = ConfigDict(
    nms_pre=1000,
    min_bbox_size=0,
    score_thr=0.0,
    nms=dict(type='nms', iou_threshold=0.5),
    max_per_img=100,
)


def make_head(seed=0, **kwargs):
    init_default_scope('mmdet')
    torch.manual_seed(seed)
    cfg = dict(
        type='SAPDHead',
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        eps=0.5,
        topk=2,
        test_cfg=TEST_CFG,
        # far from zero, so that levels differ
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.1),
        select_net=dict(
            type='FeatureSelectNet',
            init_cfg=dict(type='Normal', layer=['Conv2d', 'Linear'], std=0.2),
        ),
    )
    head = MODELS.build({**cfg, **kwargs})
    head.init_weights()
    return head


def feats_of(batch=2, seed=1, channels=8):
    return make_feats(STRIDES, batch, (SIZE, SIZE), channels, seed)


def make_samples(*images, box_type=torch.Tensor):
    samples = []
    for boxes in images:
        tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        sample = DetDataSample(
            metainfo=dict(img_shape=(SIZE, SIZE), scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=tensor if box_type is torch.Tensor else box_type(tensor),
            labels=torch.arange(len(boxes)) % 3,
        )
        samples.append(sample)
    return samples


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


def progress(fraction):
    return TrainProgress(fraction, 0, 1, 0, 1)


class PlainHead(AnchorFreeHead):
    """The parent with its abstract methods filled."""

    def loss_by_feat(self):
        raise AssertionError

    def get_targets(self):
        raise AssertionError


def test_equals_plain_anchor_point_detector():
    """Same towers and, distances scaled, same detections, bit for bit."""
    head = make_head(soft_weight=False, soft_select=False)
    plain = PlainHead(
        3, 8, feat_channels=8, stacked_convs=1, strides=STRIDES,
        test_cfg=TEST_CFG,
    )  # fmt: skip
    plain.load_state_dict(head.state_dict(), strict=True)
    feats, samples = feats_of(), make_samples([], [])
    scores, distances = plain(feats)
    distances = [d.relu() for d in distances]
    ours = head(feats)
    assert all(map(torch.equal, ours[0], scores))
    assert all(map(torch.equal, ours[1], distances))
    metas = [sample.metainfo for sample in samples]
    expected = plain.predict_by_feat(
        scores,
        [d * 4 * s for d, s in zip(distances, STRIDES, strict=True)],
        batch_img_metas=metas,
    )
    found = head.predict(feats, samples)
    for one, two in zip(found, expected, strict=True):
        assert len(one) > 0
        assert torch.equal(one.bboxes, two.bboxes)
        assert torch.equal(one.scores, two.scores)
        assert torch.equal(one.labels, two.labels)


def test_selection_net_is_not_part_of_inference():
    head = make_head().eval()
    feats, samples = feats_of(1), make_samples([])
    with torch.no_grad():
        expected = head.predict(feats, samples)[0]
        exported = torch.export.export(head, (feats,), strict=False)
        del head.select_net
        found = head.predict(feats, samples)[0]
    assert len(expected)
    assert torch.equal(found.bboxes, expected.bboxes)
    assert torch.equal(found.scores, expected.scores)
    names = [str(node.target) for node in exported.graph.nodes]
    assert any('conv2d' in name for name in names)
    assert not any('roi_align' in name for name in names)


def test_initialization_of_the_paper():
    head = make_head(init_cfg=None, select_net=dict(type='FeatureSelectNet'))
    assert torch.allclose(head.conv_cls.bias.sigmoid(), torch.tensor(0.01))
    assert (head.conv_reg.bias == 0.1).all()
    for weight in (head.conv_reg.weight, head.select_net.fc.weight):
        assert 0.005 < weight.std() < 0.015
    assert (head.select_net.fc.bias == 0).all()


def levels_used(assignment, gt):
    return set(assignment.level[assignment.assigned_gt == gt].tolist())


def test_phases():
    """One level, of the smallest loss, then the best levels of the net."""
    head, feats = make_head(soft_weight=False), feats_of()
    samples = make_samples(BOXES, BOXES[:1])
    gts = [sample.gt_instances for sample in samples]

    def assignment(fraction):
        head.set_train_progress(progress(fraction))
        outs = head(feats)
        return head.get_assignment(outs, gts, [{}, {}], feats=feats)

    first = assignment(0.49)[0]
    assert not head.soft_phase
    for gt in range(3):
        assert len(levels_used(first, gt)) <= 1
    assert levels_used(first, 0)
    assert (first.weight == 1).all()

    second = assignment(0.5)[0]
    assert head.soft_phase
    rois = torch.cat([torch.zeros(3, 1), torch.tensor(BOXES).float()], 1)
    weights = head.select_net(feats, rois).softmax(-1)
    keep = sapd.top_levels(weights[None], 2)[0]
    for gt in range(3):
        used = levels_used(second, gt)
        assert used <= set(keep[gt].nonzero().flatten().tolist())
        for level in used:
            mine = (second.assigned_gt == gt) & (second.level == level)
            torch.testing.assert_close(
                second.weight[mine], weights[gt, level].expand(mine.sum())
            )
    assert any(len(levels_used(second, gt)) == 2 for gt in range(3))

    head.set_train_progress(progress(0.1))
    loss_first = head.loss(feats, samples)
    head.set_train_progress(progress(0.9))
    loss_second = head.loss(feats, samples)
    assert loss_first.keys() == loss_second.keys()
    assert loss_first['loss_bbox'] != loss_second['loss_bbox']
    # the network learns the same in both
    assert loss_first['loss_select'] == loss_second['loss_select']


def test_soft_weight_applies_in_both_phases():
    head, feats = make_head(soft_select=False), feats_of(1)
    gts = [make_samples(BOXES)[0].gt_instances]
    found = head.get_assignment(head(feats), gts, [{}])[0]
    positive = found.assigned_gt >= 0
    assert positive.any() and found.weight[positive].min() < 0.9
    boxes = gts[0].bboxes[found.assigned_gt[positive]]
    x, y = found.priors[positive].unbind(-1)
    left, top, right, bottom = (
        x - boxes[:, 0],
        y - boxes[:, 1],
        boxes[:, 2] - x,
        boxes[:, 3] - y,
    )
    ratio = torch.minimum(left, right) / torch.maximum(left, right)
    ratio = ratio * torch.minimum(top, bottom) / torch.maximum(top, bottom)
    torch.testing.assert_close(found.weight[positive], ratio)


def test_without_soft_select_there_is_no_network():
    head = make_head(soft_select=False)
    assert not any('select' in name for name, _ in head.named_parameters())
    losses = head.loss(feats_of(), make_samples(BOXES, BOXES))
    assert set(losses) == {'loss_cls', 'loss_bbox', 'num_pos'}


@pytest.mark.parametrize('soft', [True, False])
@pytest.mark.parametrize('centerness', [True, False])
def test_no_ground_truth(soft, centerness):
    head, feats = make_head(with_centerness=centerness), feats_of()
    head.soft_phase = soft
    keys = head.loss(feats, make_samples(BOXES, BOXES)).keys()
    losses = head.loss(feats, make_samples([], []))
    assert losses.keys() == keys
    assert losses['loss_bbox'] == 0 and losses['loss_select'] == 0
    assert losses['loss_cls'] > 0
    total(losses).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        if 'select_net' in name:
            assert (parameter.grad == 0).all(), name
    one = head.loss(feats, make_samples(BOXES, []))
    assert total(one).isfinite() and one['loss_select'] > 0


def test_box_without_a_point_teaches_no_level():
    head, feats = make_head(), feats_of(1)
    losses = head.loss(feats, make_samples([[41, 41, 42, 42]]))
    assert losses['loss_select'] == 0 and losses['num_pos'] == 0
    both = head.loss(feats, make_samples([BOXES[0], [41, 41, 42, 42]]))
    alone = head.loss(feats, make_samples([BOXES[0]]))
    torch.testing.assert_close(both['loss_select'], alone['loss_select'])
    kept = make_head(min_one_cell=True)
    losses = kept.loss(feats, make_samples([[41, 41, 42, 42]]))
    assert losses['num_pos'] > 0 and losses['loss_select'] > 0


def test_thousands_of_ground_truths():
    """Finite, bounded chunks, every parameter in the graph."""
    head, feats = make_head(), feats_of(1)
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(1500, 2, generator=generator) * 100
    boxes = torch.cat([xy, xy + 4 + xy.flip(1) / 4], 1)
    losses = head.loss(feats, make_samples(boxes.tolist()))
    total(losses).backward()
    assert total(losses).isfinite()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_detached_level_weights():
    feats, samples = feats_of(), make_samples(BOXES, BOXES[1:])

    def network_gradient(detach):
        head = make_head(detach_level_weights=detach)
        losses = head.loss(feats, samples)
        (losses['loss_cls'] + losses['loss_bbox']).backward()
        grad = head.select_net.fc.weight.grad
        return losses, 0 if grad is None else grad.abs().max().item()

    detached, nothing = network_gradient(True)
    attached, something = network_gradient(False)
    assert nothing == 0 and something > 0
    for name, value in detached.items():
        torch.testing.assert_close(attached[name], value)


def test_loss_weights_are_used():
    feats, samples = feats_of(), make_samples(BOXES, BOXES[1:])
    base = make_head().loss(feats, samples)
    focal = dict(type='FocalLoss', use_sigmoid=True, loss_weight=2.0)
    scaled = make_head(
        loss_cls=focal,
        loss_bbox=dict(type='IoULoss', mode='log', eps=1e-7, loss_weight=3.0),
        loss_select=dict(type='CrossEntropyLoss', loss_weight=0.4),
    ).loss(feats, samples)
    for name, factor in (('cls', 2), ('bbox', 3), ('select', 4)):
        torch.testing.assert_close(
            scaled[f'loss_{name}'], base[f'loss_{name}'] * factor
        )


def test_unselected_ignore_marks_points():
    head, feats = make_head(unselected='ignore'), feats_of(1)
    gts = [make_samples(BOXES)[0].gt_instances]
    found = head.get_assignment(head(feats), gts, [{}], feats=feats)[0]
    ignored = found.assigned_gt == -2
    assert ignored.any() and (found.weight[ignored] == 0).all()
    assert (found.weight[found.assigned_gt == -1] == 1).all()


def test_assignment_format():
    head, feats = make_head(), feats_of(2)
    gts = [s.gt_instances for s in make_samples(BOXES, [])]
    found = head.get_assignment(head(feats), gts, [{}, {}], feats=feats)
    count = 16 * 16 + 8 * 8 + 4 * 4
    for one in found:
        assert one.priors.shape == (count, 2)
        for name in ('level', 'stride', 'assigned_gt', 'weight'):
            assert one[name].shape == (count,), name
    assert (found[1].assigned_gt == -1).all()
    assert found[0].stride[-1] == 32


def test_centerness():
    head, feats = make_head(with_centerness=True), feats_of(1)
    samples = make_samples(BOXES)
    outs = head(feats)
    assert [tuple(c.shape[1:]) for c in outs[2]] == [
        (1, SIZE // s, SIZE // s) for s in STRIDES
    ]
    with torch.no_grad():
        head.conv_centerness.weight.zero_()
    losses = head.loss(feats, samples)
    # BCE of logit 0 is log 2, whatever the target
    torch.testing.assert_close(
        losses['loss_centerness'], torch.tensor(2.0).log()
    )
    plain = make_head()
    state = head.state_dict()
    plain.load_state_dict(
        {k: v for k, v in state.items() if 'centerness' not in k}
    )
    cfg = copy.deepcopy(TEST_CFG)
    cfg.max_per_img = 5
    args = (*head(feats)[:2],)
    metas = [samples[0].metainfo]
    halved = head.predict_by_feat(*head(feats), metas, cfg)[0]
    full = plain.predict_by_feat(*args, None, metas, cfg)[0]
    assert len(full) == 5
    torch.testing.assert_close(halved.scores, full.scores / 2)


def test_loss_and_predict():
    head, feats = make_head(), feats_of()
    samples = make_samples(BOXES, BOXES[1:])
    losses, detections = head.loss_and_predict(feats, samples)
    expected = head.loss(feats, samples)
    assert losses == expected
    found = head.predict(feats, samples)
    assert len(found[1])
    assert torch.equal(detections[1].bboxes, found[1].bboxes)


def test_box_types():
    head, feats = make_head(), feats_of(1)
    plain = head.loss(feats, make_samples(BOXES))
    wrapped = head.loss(feats, make_samples(BOXES, box_type=HorizontalBoxes))
    assert plain == wrapped


def test_batch_equals_joined_single_images():
    """With the clamp inactive, numerators and normalizer add up."""
    head, feats = make_head(soft_weight=False), feats_of(2)
    images = [BOXES, BOXES[:2]]
    both = head.loss(feats, make_samples(*images))
    parts, norms = [], []
    for i, boxes in enumerate(images):
        one = [feat[i : i + 1] for feat in feats]
        parts.append(head.loss(one, make_samples(boxes)))
        gts = [make_samples(boxes)[0].gt_instances]
        found = head.get_assignment(head(one), gts, [{}], feats=one)[0]
        norms.append(found.weight[found.assigned_gt >= 0].sum())
    assert min(norms) > 1
    for name in ('loss_cls', 'loss_bbox'):
        joined = sum(
            part[name] * n for part, n in zip(parts, norms, strict=True)
        )
        torch.testing.assert_close(both[name], joined / sum(norms))


def test_autocast():
    head, feats = make_head(with_centerness=True), feats_of()
    samples = make_samples(BOXES, BOXES[1:])
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss(feats, samples)
        loss = total(losses)
    loss.backward()
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert loss.isfinite()
    exact = total(head.loss(feats, samples))
    assert abs(loss - exact) < 0.1 * exact


def test_double_precision():
    head = make_head().double()
    feats = [feat.double() for feat in feats_of()]
    losses = head.loss(feats, make_samples(BOXES, BOXES))
    assert losses['loss_bbox'].dtype == torch.float64
    single = make_head().loss(feats_of(), make_samples(BOXES, BOXES))
    torch.testing.assert_close(
        losses['loss_bbox'].float(), single['loss_bbox']
    )


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('eps', 0, r'eps must be in \(0, 1\], got 0'),
        ('eps', 1.5, 'eps must be in'),
        ('z', 0, 'z must be positive, got 0'),
        ('eta', -1, 'eta must be at least 0, got -1'),
        ('topk', 0, 'topk must be in 1..3, the levels, got 0'),
        ('topk', 4, 'topk must be in 1..3, the levels, got 4'),
        ('soft_select_begin', 6, 'fraction of the schedule.*got 6'),
        ('unselected', 'skip', "one of negative, ignore, hide, got 'skip'"),
    ],
)
def test_bad_values(key, value, message):
    with pytest.raises(ValueError, match=message):
        make_head(**{key: value})


def test_bad_losses():
    with pytest.raises(TypeError, match='loss_cls must be a FocalLoss'):
        make_head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True))
    with pytest.raises(TypeError, match="IoULoss of mode 'log'"):
        make_head(loss_bbox=dict(type='IoULoss', mode='linear'))
    with pytest.raises(TypeError, match='gamma'):
        make_head(gamma=2.0)  # an unknown key


def test_missing_features():
    head, feats = make_head(), feats_of(1)
    gts = [make_samples(BOXES)[0].gt_instances]
    with pytest.raises(ValueError, match='feats is None'):
        head.get_assignment(head(feats), gts, [{}])
    with pytest.raises(NotImplementedError, match='get_assignment'):
        head.get_targets([], [])


def two_sizes():
    """16 images of a small and a large rectangle, one class each."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(16):
        corner = torch.rand(2, generator=generator) * 12
        x, y = (corner + 4).tolist()
        u, v = (corner * 2 + 90).tolist()
        images.append([[x, y, x + 80, y + 76], [u, v, u + 13, v + 13]])
    batch = demo_batch(images, size=(128, 128))
    for image, boxes in zip(batch['inputs'], images, strict=True):
        image //= 4
        for (x1, y1, x2, y2), light in zip(boxes, (180, 90), strict=True):
            image[:, round(y1) : round(y2), round(x1) : round(x2)] += light
    return batch


@pytest.mark.slow
def test_selection_net_learns_the_level_of_least_loss():
    """Overfit: objects of two sizes on two levels, and the net knows both."""
    cfg = mini_config(config_path('sapd_r50_fpn_1x_coco'))
    cfg.model.bbox_head.eps = 0.5  # points on several levels in small images
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    head, batch, losses = model.bbox_head, two_sizes(), []
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for step in range(160):
        head.set_train_progress(progress(step / 160))
        optimizer.zero_grad()
        losses.append(losses_of(model, batch))
        total_loss(losses[-1]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 35)
        optimizer.step()
    assert head.soft_phase
    first, last = losses[0], losses[-1]
    assert last['loss_select'] < 0.5 * first['loss_select']
    assert last['loss_bbox'] < 0.3 * first['loss_bbox']
    # chance would be 0.2
    right = [step['select_acc'].item() for step in losses[-10:]]
    assert sum(right) / len(right) > 0.9
    head.set_train_progress(progress(0.0))
    data = model.data_preprocessor(batch, True)
    gts = [sample.gt_instances for sample in data['data_samples']]
    with torch.no_grad():
        feats = model.extract_feat(data['inputs'])
        found = head.get_assignment(head(feats), gts, [], feats=feats)
    levels = {
        int(one.level[one.assigned_gt == gt][0])
        for one in found
        for gt in range(2)
        if (one.assigned_gt == gt).any()
    }
    assert len(levels) > 1
