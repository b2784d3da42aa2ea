"""The assignment that is read is the one that the heads train on."""

import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from mmdet_assigners.analysis.adapters import HeadRun, find_adapter
from mmdet_assigners.analysis.adapters.helpers import recording
from mmdet_assigners.analysis.heads import collect_assignment, dense_head

BOXES = [[16, 16, 112, 112], [120, 130, 250, 240], [100, 20, 116, 36]]
LABELS = [0, 1, 2]
HEADS = ['retinanet', 'atss', 'fcos', 'fsaf', 'freeanchor', 'rpn', 'gfl']
HEADS += ['paa', 'tood', 'yolox', 'autoassign']


def run_head(model, data):
    """Predictions of the head, as the detector's loss gets them."""
    batch = model.data_preprocessor(data, training=False)
    samples = batch['data_samples']
    outs = dense_head(model)(model.extract_feat(batch['inputs']))
    gts = [sample.gt_instances for sample in samples]
    return outs, gts, [sample.metainfo for sample in samples]


def own_labels(head, outs, gts, metas):
    """Labels (B, P) and normalizer that the head's get_targets gives."""
    sizes = [score.shape[-2:] for score in outs[0]]
    if hasattr(head, 'get_anchors'):
        anchors = head.get_anchors(sizes, metas, 'cpu')
        targets = head.get_targets(*anchors, gts, metas)
        first = 1 if type(head).__name__ == 'ATSSHead' else 0
        return torch.cat(targets[first], 1), targets[first + 4]
    points = head.prior_generator.grid_priors(sizes, device='cpu')
    labels, _ = head.get_targets(points, gts)
    labels = torch.cat([x.view(len(gts), -1) for x in labels], 1)
    return labels, int((labels < head.num_classes).sum())


@torch.no_grad()
@pytest.mark.parametrize('name', ['retinanet', 'atss', 'fcos'])
def test_positives_are_those_of_get_targets(name, detector, batch):
    model = detector(name)
    data = batch((BOXES, LABELS), (BOXES[1:2], LABELS[1:2]))
    found = collect_assignment(model, data)
    outs, gts, metas = run_head(model, data)
    labels, num_pos = own_labels(model.bbox_head, outs, gts, metas)
    assert num_pos > 10
    assert sum(int((f.assigned_gt >= 0).sum()) for f in found) == num_pos
    for result, gt, label in zip(found, gts, labels, strict=True):
        positive = result.assigned_gt >= 0
        assert torch.equal(positive, label < model.bbox_head.num_classes)
        mine = gt.labels[result.assigned_gt[positive]]
        assert torch.equal(mine, label[positive])


@torch.no_grad()
def test_fsaf_positives_are_those_of_its_loss(detector, batch):
    model = detector('fsaf')
    data = batch((BOXES, LABELS), (BOXES[1:2], LABELS[1:2]))
    found = collect_assignment(model, data)
    outs, gts, metas = run_head(model, data)
    all_levels, _ = own_labels(model.bbox_head, outs, gts, metas)
    losses = model.bbox_head.loss_by_feat(
        *[list(out) for out in outs], gts, metas
    )
    count = sum(int((f.assigned_gt >= 0).sum()) for f in found)
    assert count / 2 == losses['num_pos'] > 0
    for result, gt, label in zip(found, gts, all_levels, strict=True):
        positive = result.assigned_gt >= 0
        mine = gt.labels[result.assigned_gt[positive]]
        assert torch.equal(mine, label[positive])
        # positives of the levels that were not chosen are ignored
        dropped = (label < model.bbox_head.num_classes) & ~positive
        assert (result.assigned_gt[dropped] == -2).all()
        assert (result.weight[dropped] == 0).all()
        for index in range(len(gt)):
            assert len(result.level[result.assigned_gt == index].unique()) == 1


def test_fsaf_weight_is_of_the_own_class(detector, batch):
    # points of the small object are ignored for the class of the large one
    boxes = [[0, 0, 256, 256], [96, 96, 160, 160]]
    (found,) = collect_assignment(detector('fsaf'), batch((boxes, [0, 1])))
    assert (found.assigned_gt == 1).any()
    assert (found.weight[found.assigned_gt >= 0] == 1).all()


def test_fcos_by_hand(detector, batch):
    # 8 x 8 points of P3 lie in the large box, all within its range 0..64;
    # the small box takes 2 x 2 of them, because its area is less
    data = batch(([[0, 0, 64, 64], [16, 16, 32, 32]], [0, 1]))
    (found,) = collect_assignment(detector('fcos'), data)
    assert found.level[found.assigned_gt >= 0].eq(0).all()
    assert (found.assigned_gt == 0).sum() == 60
    small = found.priors[found.assigned_gt == 1].tolist()
    assert small == [[20, 20], [28, 20], [20, 28], [28, 28]]
    # l, t, r, b = 4, 4, 60, 60 at the first point
    assert found.assigned_gt[0] == 0
    assert found.weight[0].item() == pytest.approx(4 / 60)
    assert found.stride.unique().tolist() == [8, 16, 32, 64, 128]
    sizes = [int((found.level == i).sum()) for i in range(5)]
    assert sizes == [1024, 256, 64, 16, 4]


def test_retinanet_ignores_between_the_thresholds(detector, batch):
    (found,) = collect_assignment(
        detector('retinanet'), batch((BOXES, LABELS))
    )
    iou = bbox_overlaps(found.priors, torch.tensor(BOXES).float()).amax(1)
    negative = found.assigned_gt == -1
    ignored = found.assigned_gt == -2
    assert ignored.sum() > 10
    assert ((iou[ignored] >= 0.4) & (iou[ignored] < 0.5)).all()
    assert (iou[negative] < 0.4).all()
    assert (found.assigned_gt[iou >= 0.5] >= 0).all()
    assert (found.weight == (~ignored).float()).all()


def test_retinanet_ignored_region(detector, batch):
    data = batch((BOXES[:1], LABELS[:1]), ignored=[[128, 128, 256, 256]])
    model = detector('retinanet')
    assigner = model.bbox_head.assigner
    before = assigner.ignore_iof_thr
    assigner.ignore_iof_thr = 0.5
    try:
        (found,) = collect_assignment(model, data)
    finally:
        assigner.ignore_iof_thr = before
    inside = (found.priors[:, :2] >= 128) & (found.priors[:, 2:] <= 256)
    inside = inside.all(1)
    assert inside.sum() > 100
    assert (found.assigned_gt[inside] == -2).all()


def test_atss_weight_is_centerness(detector, batch):
    (found,) = collect_assignment(detector('atss'), batch((BOXES, LABELS)))
    positive = found.assigned_gt == 0
    center = found.priors[positive].view(-1, 2, 2).mean(1)
    box = torch.tensor(BOXES[0]).float()
    low, high = center - box[:2], box[2:] - center
    ratio = torch.minimum(low, high) / torch.maximum(low, high)
    expected = ratio.prod(1).sqrt()
    assert 0 < positive.sum() <= 45
    assert torch.allclose(found.weight[positive], expected, atol=1e-6)


@torch.no_grad()
def test_free_anchor_bags(detector, batch):
    model = detector('freeanchor')
    head = model.bbox_head
    data = batch(([], []), (BOXES[:1], LABELS[:1]))
    with (
        recording(head.bbox_coder, 'encode') as encoded,
        recording(head, 'positive_bag_loss') as bags,
    ):
        empty, found = collect_assignment(model, data)
    assert (empty.assigned_gt == -1).all()
    bag = encoded[-1][0][0][0]  # anchors that the head put into the bag
    cls_prob, box_prob = bags[-1][0]
    match = (cls_prob * box_prob)[0]
    positive = found.assigned_gt == 0
    assert positive.sum() == head.pre_anchor_topk == 50
    weight = {
        tuple(prior): w
        for prior, w in zip(
            found.priors[positive].tolist(),
            found.weight[positive].tolist(),
            strict=True,
        )
    }
    for prior, value in zip(bag.tolist(), match.tolist(), strict=True):
        expected = value / match.max().item()
        assert weight[tuple(prior)] == pytest.approx(expected, abs=1e-6)


def test_rpn_counts_objects_of_all_classes(detector, batch):
    (found,) = collect_assignment(detector('rpn'), batch((BOXES, LABELS)))
    # the third, 16 px wide, gets none: IoU 0.25 with the smallest anchor
    assert set(found.assigned_gt.tolist()) == {-1, 0, 1}
    assert (found.weight[found.assigned_gt >= 0] == 1).all()
    assert (found.weight == 1).sum() <= 256  # the sample
    iou = bbox_overlaps(found.priors, torch.tensor(BOXES).float())
    positive = found.assigned_gt >= 0
    best = iou[positive].argmax(1)
    assert torch.equal(best, found.assigned_gt[positive])


@pytest.mark.parametrize('name', HEADS)
def test_without_objects_all_are_negative(name, detector, batch):
    data = batch(([], []), ([], []))
    for result in collect_assignment(detector(name), data):
        assert len(result.priors) > 1000
        assert (result.assigned_gt == -1).all()


@pytest.mark.parametrize('name', ['retinanet', 'atss', 'fcos', 'freeanchor'])
def test_batched_equals_single(name, detector, batch):
    model = detector(name)
    images = [(BOXES, LABELS), (BOXES[1:2], LABELS[1:2])]
    together = collect_assignment(model, batch(*images))
    for image, result in zip(images, together, strict=True):
        (single,) = collect_assignment(model, batch(image))
        assert torch.equal(single.assigned_gt, result.assigned_gt)
        assert torch.allclose(single.weight, result.weight, atol=1e-4)


def test_padding_is_ignored(detector, batch):
    data = batch((BOXES[:1], LABELS[:1]), size=(128, 256))
    larger = batch((BOXES[:1], LABELS[:1]))
    data = {key: value + larger[key] for key, value in data.items()}
    low, high = collect_assignment(detector('retinanet'), data)
    below = (low.level == 0) & (low.priors[:, 1::2].mean(1) >= 128)
    assert below.sum() == 9 * 16 * 32
    assert (low.assigned_gt[below] == -2).all()
    assert (high.assigned_gt[below] == -1).all()
    kept = low.assigned_gt >= 0
    assert kept.any()
    assert torch.equal(kept, high.assigned_gt >= 0)


class _Renamed(RetinaHead):
    pass


class _OtherTargets(RetinaHead):
    def _get_targets_single(self, *args, **kwargs):
        return super()._get_targets_single(*args, **kwargs)


def test_adapter_of_subclasses():
    kwargs = dict(num_classes=3, in_channels=8, feat_channels=8)
    head = _Renamed(**kwargs)
    assert find_adapter(head).uses_predictions is False
    with pytest.raises(TypeError, match='assignment of _OtherTargets: give'):
        find_adapter(_OtherTargets(**kwargs))


def test_head_without_adapter(detector, batch):
    with pytest.raises(TypeError, match=r'DDODHead.*register_adapter'):
        collect_assignment(detector('ddod'), batch((BOXES, LABELS)))


def test_detector_without_dense_head():
    with pytest.raises(TypeError, match='Linear has no dense head'):
        dense_head(torch.nn.Linear(1, 1))


class _Own(RetinaHead):
    answer: InstanceData

    def get_assignment(
        self, outs, batch_gt_instances, batch_img_metas, feats=None
    ):
        self.asked = (len(outs), len(batch_gt_instances), len(feats))
        return [self.answer]


@pytest.fixture
def own(config):
    from mmdet.registry import MODELS

    cfg = config('retinanet').model
    MODELS.register_module(name='_OwnHead', module=_Own, force=True)
    cfg.bbox_head.type = '_OwnHead'
    yield MODELS.build(cfg)
    MODELS.module_dict.pop('_OwnHead')


def answer(**changes):
    fields = dict(
        priors=torch.zeros(2, 2),
        level=torch.zeros(2).long(),
        stride=torch.ones(2),
        assigned_gt=torch.tensor([0, -2]),
        weight=torch.ones(2),
    )
    return InstanceData(**(fields | changes))


def test_own_head_answers_itself(own, batch):
    own.bbox_head.answer = answer()
    (found,) = collect_assignment(own, batch((BOXES, LABELS)))
    assert found.assigned_gt.tolist() == [0, -2]
    assert own.bbox_head.asked == (2, 1, 5)
    # by default a head of ours may use its predictions
    assert find_adapter(own.bbox_head).uses_predictions
    own.bbox_head.assignment_uses_predictions = False
    assert not find_adapter(own.bbox_head).uses_predictions


def test_wrong_answers_of_an_own_head(own, batch):
    data = batch((BOXES, LABELS))
    own.bbox_head.answer = answer(assigned_gt=torch.tensor([3, -1]))
    with pytest.raises(ValueError, match=r'_Own: assigned_gt is in \[-1, 3\]'):
        collect_assignment(own, data)
    own.bbox_head.answer = InstanceData(priors=torch.zeros(2, 2))
    with pytest.raises(ValueError, match='lacks level, stride'):
        collect_assignment(own, data)


@pytest.mark.parametrize(
    'name',
    [
        'sapd_r50_fpn_1x_coco',
        'sepc_retinanet_r50_fpn_1x_coco',
        'sepc_fsaf_r50_fpn_1x_coco',
        'sepc_freeanchor_r50_fpn_1x_coco',
        'sepc_atss_r50_fpn_1x_coco',
        'pconv_faster-rcnn_r50_fpn_1x_coco',
    ],
)
def test_heads_of_this_package(name, detector, batch):
    data = batch((BOXES, LABELS), ([], []))
    found, empty = collect_assignment(detector(name), data)
    positive = found.assigned_gt >= 0
    assert positive.any()
    # every object is trained on by priors that are near it
    centers = found.priors.view(len(found.priors), -1, 2).mean(1)[positive]
    boxes = torch.tensor(BOXES).float()[found.assigned_gt[positive]]
    size = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True)
    assert (centers >= boxes[:, :2] - size).all()
    assert (centers <= boxes[:, 2:] + size).all()
    assert (found.weight[positive] >= 0).all()
    assert not (empty.assigned_gt >= 0).any()


def test_recording_leaves_the_object_as_it_was(detector):
    head = detector('fcos').bbox_head
    with recording(head, 'centerness_target') as calls:
        result = head.centerness_target(torch.ones(1, 4))
    assert 'centerness_target' not in vars(head)
    assert len(calls) == 1
    assert calls[0][1] is result
    assert result.item() == 1
    with recording(head, 'centerness_target') as outer:
        with recording(head, 'centerness_target'):
            head.centerness_target(torch.ones(1, 4))
        head.centerness_target(torch.ones(1, 4))
    assert len(outer) == 2
    assert 'centerness_target' not in vars(head)


def test_head_run_sizes():
    run = HeadRun(([torch.zeros(2, 3, 4, 5)],), [], [], [], [])
    assert run.sizes == [(4, 5)]
