"""Adapters of mmdet's dynamic assigners against the heads' own targets."""

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import paa_head
from mmdet.structures.bbox import bbox_overlaps
from mmengine.logging import MessageHub

from mmdet_assigners.analysis.adapters.helpers import recording
from mmdet_assigners.analysis.heads import (
    collect_assignment,
    read_assignment,
    run_head,
)

BOXES = [[16, 16, 112, 112], [120, 130, 250, 240], [100, 20, 116, 36]]
LABELS = [0, 1, 2]
IMAGES = ((BOXES, LABELS), ([], []), (BOXES[1:2], LABELS[1:2]))


def own_labels(results, run, num_classes):
    """Label (B, P) of the object that each prior is said to have."""
    labels = []
    for result, gt in zip(results, run.gts, strict=True):
        positive = result.assigned_gt >= 0
        label = torch.full_like(result.assigned_gt, num_classes)
        label[positive] = gt.labels[result.assigned_gt[positive]]
        labels.append(label)
    return torch.stack(labels)


def test_gfl_assigns_as_atss(detector, batch):
    data = batch(*IMAGES)
    found = collect_assignment(detector('gfl'), data)
    expected = collect_assignment(detector('atss'), batch(*IMAGES))
    assert (found[0].assigned_gt >= 0).sum() > 10
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.assigned_gt, theirs.assigned_gt)
        assert (ours.weight == 1).all()


@torch.no_grad()
def test_tood_targets(detector, batch):
    head, run = run_head(detector('tood'), batch(*IMAGES))
    found = read_assignment(head, run)
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', head.initial_epoch)
    with recording(head, 'get_targets') as calls:
        head.loss_by_feat(*run.outs, run.gts, run.metas, run.ignored)
    _, labels, _, _, metrics = calls[0][1]
    labels, metrics = torch.cat(labels, 1), torch.cat(metrics, 1)
    ours = own_labels(found, run, head.num_classes)
    assert (ours < head.num_classes).sum() > 20
    assert torch.equal(ours, labels)
    for result, metric in zip(found, metrics, strict=True):
        positive = result.assigned_gt >= 0
        torch.testing.assert_close(result.weight[positive], metric[positive])
        assert (result.weight[~positive] == 1).all()


@torch.no_grad()
def test_yolox_targets(detector, batch):
    head, run = run_head(detector('yolox'), batch(*IMAGES))
    with recording(head, '_get_targets_single') as calls:
        found = read_assignment(head, run)
    for result, gt, (args, targets) in zip(found, run.gts, calls, strict=True):
        foreground, cls_target = targets[:2]
        positive = result.assigned_gt >= 0
        assert torch.equal(positive, foreground)
        labels = gt.labels[result.assigned_gt[positive]]
        assert torch.equal(labels[:, None].eq(torch.arange(3)), cls_target > 0)
        corner, stride = args[0][:, :2], args[0][:, 2:]
        assert torch.equal(result.priors, corner + stride / 2)
    assert [bool((f.assigned_gt >= 0).any()) for f in found] == [
        True,
        False,
        True,
    ]


@torch.no_grad()
def test_auto_assign_weights(detector, batch):
    head, run = run_head(detector('autoassign'), batch(*IMAGES))
    (found, empty, _) = read_assignment(head, run)
    assert (empty.assigned_gt == -1).all()
    positive = found.assigned_gt >= 0
    assert positive.sum() > 10
    own = torch.tensor(BOXES).float()[found.assigned_gt[positive]]
    points = found.priors[positive]
    assert (points > own[:, :2]).all() and (points < own[:, 2:]).all()
    assert found.weight[positive].min() >= 0.01
    # an untrained network is unsure everywhere, which leaves the center
    # prior: exp(-d^2 / 2) with d in strides
    center = (own[:, :2] + own[:, 2:]) / 2
    distance = (points - center) / found.stride[positive, None]
    prior = torch.exp(-distance.pow(2).sum(1) / 2)
    for index in range(3):
        mine = found.assigned_gt[positive] == index
        assert found.weight[positive][mine].max() == 1
        expected = prior[mine] / prior[mine].max()
        torch.testing.assert_close(
            found.weight[positive][mine], expected, rtol=0.2, atol=0.02
        )


class FakeMixture:
    """Stands in for scikit-learn: the lower half is the first part."""

    class GaussianMixture:
        def __init__(self, *args, **kwargs):
            pass

        def fit(self, losses):
            pass

        def predict(self, losses):
            return (np.arange(len(losses)) >= (len(losses) + 1) // 2) * 1

        def score_samples(self, losses):
            return np.arange(len(losses), dtype=float)


@torch.no_grad()
def test_paa_after_its_mixture(detector, batch, monkeypatch):
    monkeypatch.setattr(paa_head, 'skm', FakeMixture)
    model = detector('paa')
    head, run = run_head(model, batch(*IMAGES))
    losses = []
    hook = head.loss_bbox.register_forward_hook(
        lambda module, args, out: losses.append(args)
    )
    with recording(head, 'paa_reassign') as calls:
        found = read_assignment(head, run)
    hook.remove()
    labels = torch.stack([result[0] for _, result in calls])
    ours = own_labels(found, run, head.num_classes)
    assert (ours < head.num_classes).sum() > 5
    assert torch.equal(ours, labels)
    before = sum(len(args[4]) for args, _ in calls)
    assert (ours < head.num_classes).sum() < before
    # the box loss of the positives is weighed by the same IoU
    pred, target, iou = losses[-1]
    expected = bbox_overlaps(pred, target, is_aligned=True)
    assert torch.equal(iou, expected.clamp(min=1e-12))
    weight = torch.cat([f.weight[f.assigned_gt >= 0] for f in found])
    torch.testing.assert_close(weight, expected)


def test_paa_names_what_it_needs(detector, batch, monkeypatch):
    monkeypatch.setattr(paa_head, 'skm', None)
    with pytest.raises(ImportError, match='install sklearn'):
        collect_assignment(detector('paa'), batch(*IMAGES))
