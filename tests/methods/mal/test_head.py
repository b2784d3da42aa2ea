"""MAL's head against mmdet's FreeAnchor, and its schedule."""

import pickle

import pytest
import torch
from helpers import (
    BOXES,
    demo_batch,
    make_feats,
    total_loss,
    train_with_progress,
)
from mmdet.models.dense_heads import FreeAnchorRetinaHead
from mmdet.models.utils import unpack_gt_instances
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope

from mmdet_assigners.analysis.adapters import HeadRun, find_adapter
from mmdet_assigners.engine.hooks.train_progress_hook import TrainProgress
from mmdet_assigners.methods.mal import functional as mal
from mmdet_assigners.methods.mal.feature_depression import FeatureDepression
from mmdet_assigners.methods.mal.head import MALRetinaHead

STRIDES = [8, 16, 32]
AS_MMDET = dict(clamp_gradient=False)


def build(head=MALRetinaHead, pre_anchor_topk=12, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    head = head(
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        pre_anchor_topk=pre_anchor_topk,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=2,
            ratios=[0.5, 1.0],
            strides=STRIDES,
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.75),
        test_cfg=ConfigDict(
            nms_pre=50,
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=20,
        ),
        **options,
    )
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return head


def inputs(boxes):
    feats = make_feats(STRIDES)
    samples = demo_batch(boxes)['data_samples']
    return feats, samples


def progress(iteration, max_iters=1200):
    return TrainProgress(iteration / max_iters, 0, 1, iteration, max_iters)


def losses_and_grads(head, boxes):
    losses = head.loss(*inputs(boxes))
    total_loss(losses).backward()
    return losses, [parameter.grad for parameter in head.parameters()]


@pytest.mark.parametrize('depression', [None, dict(schedule=5)])
@pytest.mark.parametrize('boxes', [[BOXES, BOXES[:1]], [BOXES, []]])
def test_without_depression_equals_free_anchor(depression, boxes):
    reference = losses_and_grads(build(FreeAnchorRetinaHead), boxes)
    # the schedule begins with ratio 0
    head = build(depression=depression, **AS_MMDET)
    for module in head.modules():
        if hasattr(module, 'set_train_progress'):
            module.set_train_progress(progress(0))
    losses, grads = losses_and_grads(head, boxes)
    assert losses.keys() == reference[0].keys()
    for name, value in reference[0].items():
        torch.testing.assert_close(losses[name], value)
    for grad, expected in zip(grads, reference[1], strict=True):
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-6)


def test_depression_is_for_training_only():
    feats, samples = inputs([BOXES, BOXES])
    head, reference = build(), build(FreeAnchorRetinaHead)
    head.depression.ratio = 0.5
    changed, plain = head(feats), reference(feats)
    assert not torch.equal(changed[0][0], plain[0][0])
    head.eval(), reference.eval()
    for ours, expected in zip(head(feats), reference(feats), strict=True):
        assert all(map(torch.equal, ours, expected))
    found = head.predict(feats, samples)[0].bboxes
    assert torch.equal(found, reference.predict(feats, samples)[0].bboxes)
    # nor does the validation loss depress
    losses = head.loss(feats, samples)
    head.depression.ratio = 0.0
    assert losses == head.loss(feats, samples)


def test_schedule_follows_the_hook():
    head = build()
    for done, ratio in [(0, 0), (98, 0), (99, 0.1), (600, 0.5), (1199, 0)]:
        head.depression.set_train_progress(progress(done))
        head.set_train_progress(progress(done))
        assert head.depression.ratio == ratio
        assert head.progress == (done + 1) / 1200
    # resumed with half the batch size: the counter is wrong, the share isn't
    resumed = TrainProgress(0.5, 6, 12, 600, 2400)
    head.depression.set_train_progress(resumed)
    assert head.depression.ratio == 0.5


class RatioModel(BaseModel):
    """Records the ratio of each iteration; the head is never called."""

    def __init__(self, stop=None):
        super().__init__()
        self.head, self.seen, self.stop = build(), [], stop

    def forward(self, inputs, mode='tensor'):
        self.seen.append(self.head.depression.ratio)
        if len(self.seen) == self.stop:
            raise InterruptedError
        return dict(loss=self.head.retina_cls.bias.sum())


def ratios_of_a_run(model, work_dir, **options):
    dataset = [dict(inputs=torch.zeros(1))] * 5
    train_cfg = dict(by_epoch=True, max_epochs=6)
    train_with_progress(model, dataset, work_dir, train_cfg, **options)
    return model.seen


def test_resumed_run_has_the_ratios_of_an_uninterrupted_one(tmp_path):
    (tmp_path / 'whole').mkdir()
    whole = ratios_of_a_run(RatioModel(), tmp_path / 'whole')
    assert whole == [mal.depression_ratio(5, t, 30) for t in range(1, 31)]
    assert set(whole) == {0, 0.1, 0.2, 0.3, 0.4, 0.5}
    (tmp_path / 'parts').mkdir()
    with pytest.raises(InterruptedError):
        ratios_of_a_run(RatioModel(stop=13), tmp_path / 'parts')
    # the last checkpoint is that of the second epoch
    resumed = ratios_of_a_run(RatioModel(), tmp_path / 'parts', resume=True)
    assert resumed == whole[10:]


def test_share_of_depressed_positions():
    depression = FeatureDepression(keep=0).train()
    depression.ratio = 0.3
    outs = depression([torch.rand(2, 4, 6, 7) + 1, torch.rand(2, 4, 1, 1) + 1])
    assert [(x == 0).all(1).sum((1, 2)).tolist() for x in outs] == [
        [12, 12],
        [0, 0],
    ]


def test_annealed_selection_is_from_mean_to_best():
    boxes = [BOXES, BOXES[:1]]
    values = []
    for done in (-1, 1199):
        head = build(selection='topk_anneal', depression=None)
        head.set_train_progress(progress(done))
        with torch.no_grad():
            feats, samples = inputs(boxes)
            gts, _, metas = unpack_gt_instances(samples)
            flat = head.flatten(head(feats), gts, metas)
            _, scores = head.bag_scores(flat)
            loss = head.loss(feats, samples)['positive_bag_loss']
        best = scores.mean(-1) if done < 0 else scores.amax(-1)
        expected = -best[flat.mask].log().sum() / 5 / 2
        torch.testing.assert_close(loss, expected)
        values.append(loss)
    assert values[1] < values[0]


def test_inclusive_corners_are_wider_boxes():
    def loss(shift, **options):
        head = build(depression=None, **options)
        feats, samples = inputs([BOXES, BOXES[:1]])
        gts, _, metas = unpack_gt_instances(samples)
        flat = head.flatten(head(feats), gts, metas)
        flat.boxes[..., 2:] += shift
        flat.anchors[..., 2:] += shift
        return head.loss_flat(flat)

    assert loss(0, legacy_plus_one=True) == loss(1)
    assert loss(0) != loss(1)


@pytest.mark.parametrize('boxes', [[[], []], [[[300, 300, 310, 305]], []]])
def test_no_object_and_one_outside(boxes):
    losses, grads = losses_and_grads(build(), boxes)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(grad).all() for grad in grads)
    if boxes == [[], []]:
        assert losses['positive_bag_loss'] == 0
        assert losses['negative_bag_loss'] > 0


def test_fewer_anchors_than_a_bag():
    losses, _ = losses_and_grads(build(pre_anchor_topk=10**6), [BOXES, []])
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_assignment_equals_the_adapter_of_free_anchor():
    feats, samples = inputs([BOXES, BOXES[:2]])
    gts, ignored, metas = unpack_gt_instances(samples)
    found = []
    for kind in (FreeAnchorRetinaHead, MALRetinaHead):
        head = build(kind)
        run = HeadRun(head(feats), gts, metas, ignored, feats)
        found.append(find_adapter(head).read(head, run))
    for expected, ours in zip(*found, strict=True):
        assert (ours.assigned_gt >= 0).any()
        assert torch.equal(ours.assigned_gt, expected.assigned_gt)
        assert torch.equal(ours.level, expected.level)
        torch.testing.assert_close(ours.weight.float(), expected.weight)


def test_pickles_with_its_ratio():
    head = build()
    head.depression.ratio = 0.4
    assert pickle.loads(pickle.dumps(head)).depression.ratio == 0.4


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(selection='max'), "mean_max, topk_anneal, got 'max'"),
        (dict(pre_anchor_topk=0), 'pre_anchor_topk must be at least 1, got 0'),
        (dict(depression=dict(type='x')), "channel_spatial, got 'x'"),
        (dict(depression=dict(schedule=9)), r'in 0\.\.8, got 9'),
        (dict(depression=dict(keep=2)), r'keep must be in \[0, 1\], got 2'),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_unknown_option():
    with pytest.raises(TypeError, match='depresion_'):
        build(depresion_='mean_max')
