"""RoI heads whose box results travel as a dict."""

import copy

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.models.roi_heads.dict_roi_head import (
    DictBBoxHeadMixin,
    DictCascadeRoIHead,
    DictRoIHead,
)
from mmdet_assigners.utils import config_path, resolve_config

MASK = config_path('kl-loss_mask-rcnn_no-voting_r50_fpn_2x_coco')
BOX = dict(
    _delete_=True,
    type='Shared2FCBBoxHead',
    in_channels=64,
    fc_out_channels=32,
    num_classes=2,
)


class NamedHead(DictBBoxHeadMixin, Shared2FCBBoxHead):
    """An ordinary head with a third output, checked on its way."""

    def forward(self, x):
        score, deltas = super().forward(x)
        extra = x.flatten(1)[:, :3]
        return dict(cls_score=score, bbox_pred=deltas, extra=extra)

    def loss(self, *inputs, extra, **options):
        assert len(extra) == len(inputs[0])
        return dict(super().loss(*inputs, **options), loss_extra=extra.sum())

    def _predict_by_feat_single(self, roi, *inputs, extra, **options):
        assert extra.shape == (len(roi), 3)
        return super()._predict_by_feat_single(roi, *inputs, **options)


def detector(kind, agnostic=False, **box):
    """Mask R-CNN with an ordinary box head under the given RoI head."""
    cfg = mini_config(MASK)
    cfg.merge_from_dict(
        dict(
            model=dict(
                roi_head=dict(
                    type=kind,
                    bbox_head=dict(BOX, reg_class_agnostic=agnostic, **box),
                )
            )
        )
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for layer in (model.roi_head.bbox_head.fc_cls, model.rpn_head.rpn_reg):
        nn.init.normal_(layer.weight, std=0.1)
    return model


def proposals(*counts):
    generator = torch.Generator().manual_seed(3)
    found = []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * 80
        size = torch.rand(count, 2, generator=generator) * 60 + 5
        found.append(
            InstanceData(bboxes=torch.cat((corner, corner + size), 1))
        )
    return found


def features(batch=2):
    generator = torch.Generator().manual_seed(5)
    return tuple(
        torch.randn(batch, 64, 128 // s, 160 // s, generator=generator)
        for s in (4, 8, 16, 32, 64)
    )


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in theirs.keys():
        assert torch.equal(ours[name], theirs[name]), name


@pytest.fixture(scope='module', params=[False, True], ids=['own', 'agnostic'])
def pair(request):
    """Ours and mmdet's with the same weights."""
    theirs = detector(StandardRoIHead, request.param)
    ours = detector(DictRoIHead, request.param)
    ours.load_state_dict(theirs.state_dict())
    assert type(theirs.roi_head) is StandardRoIHead
    return ours, theirs


def test_losses_equal_mmdet(pair):
    losses = []
    for model in pair:
        torch.manual_seed(1)
        model.train()
        losses.append(losses_of(model, demo_batch([BOXES, BOXES[:1]])))
    for name, value in losses[1].items():
        values = value if isinstance(value, list) else [value]
        found = losses[0][name]
        found = found if isinstance(found, list) else [found]
        assert all(map(torch.equal, found, values)), name


@pytest.mark.parametrize('counts', [(7, 12), (0, 9), (0, 0)])
@pytest.mark.parametrize('rescale', [False, True])
def test_predictions_equal_mmdet(pair, counts, rescale):
    samples = demo_batch([BOXES, BOXES])['data_samples']
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(2.0, 1.5)))
    metas = [sample.metainfo for sample in samples]
    results = []
    for model in pair:
        head = model.roi_head.eval()
        with torch.no_grad():
            results.append(
                head.predict(features(), proposals(*counts), samples, rescale)
            )
            results[-1] += head.predict_bbox(
                features(), metas, proposals(*counts), None
            )
    for ours, theirs in zip(*results, strict=True):
        same(ours, theirs)
    assert sum(counts) == 0 or len(results[1][1]) > 0


def test_forward_equals_mmdet(pair):
    with torch.no_grad():
        outs = [
            model.roi_head.eval().forward(features(), proposals(3, 4), [])
            for model in pair
        ]
    assert len(outs[0]) == len(outs[1]) == 3
    assert all(map(torch.equal, *outs))


@pytest.fixture
def registered():
    MODELS.register_module(module=NamedHead)
    yield
    MODELS.module_dict.pop('NamedHead')


@pytest.fixture
def named(registered):
    return detector(DictRoIHead, type='NamedHead')


def test_further_outputs_arrive(named):
    named.train()
    losses = losses_of(named, demo_batch([BOXES, []]))
    assert 'loss_extra' in losses
    head = named.roi_head.eval()
    samples = demo_batch([BOXES, BOXES])['data_samples']
    with torch.no_grad():
        results = head.predict(features(), proposals(0, 9), samples)
        outs = head.forward(features(), proposals(2, 3))
    assert [len(r) > 0 for r in results] == [False, True]
    assert [len(out) for out in outs] == [5, 5, 5, 5]
    assert outs[2].shape == (5, 3)


def test_unknown_output_is_an_error(named):
    ordinary = copy.deepcopy(named)
    ordinary.roi_head.bbox_head.__class__ = type(
        'Forgetful', (NamedHead,), dict(loss=Shared2FCBBoxHead.loss)
    )
    with pytest.raises(TypeError, match='extra'):
        losses_of(ordinary.train(), demo_batch([BOXES]))


def test_outputs_are_checked(named):
    head = named.roi_head
    head.bbox_head.forward = lambda feats: dict(cls_score=feats)
    with pytest.raises(ValueError, match='NamedHead must return cls_score'):
        head.forward(features(), proposals(1, 1))


def test_targets_of_the_mixin_are_kept_for_cascades():
    """``refine_bboxes`` reads targets and deltas of the results."""
    model = detector(DictRoIHead)
    head = model.roi_head
    samples = demo_batch([BOXES, BOXES[:2]])['data_samples']
    gts, ignored, metas = unpack_gt_instances(samples)
    sampled = []
    for result, gt, ignore in zip(proposals(8, 8), gts, ignored, strict=True):
        result.priors = result.pop('bboxes')
        assigned = head.bbox_assigner.assign(result, gt, ignore)
        sampled.append(head.bbox_sampler.sample(assigned, result, gt))
    head.bbox_head.__class__ = type(
        'Plain', (DictBBoxHeadMixin, Shared2FCBBoxHead), {}
    )
    rois = bbox2roi([result.priors for result in sampled])
    results = head._bbox_forward(features(), rois)
    found = head.bbox_head.loss_and_target(
        results['cls_score'],
        results['bbox_pred'],
        rois,
        sampled,
        head.train_cfg,
    )
    results.update(rois=rois, bbox_targets=found['bbox_targets'])
    refined = head.bbox_head.refine_bboxes(sampled, results, metas)
    assert [len(r) for r in refined] == [8, 8]


CASCADE = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'


def cascade(kind, named=False):
    """Cascade R-CNN with box heads of three stages."""
    cfg = mini_config(resolve_config(CASCADE))
    roi_head = cfg.model.roi_head
    roi_head.type = kind
    for head in roi_head.bbox_head:
        head.reg_class_agnostic = False
        if named:
            head.type = 'NamedHead'
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for head in model.roi_head.bbox_head:
        nn.init.normal_(head.fc_cls.weight, std=0.1)
    return model


@pytest.fixture(scope='module')
def cascades():
    """Ours and mmdet's with the same weights."""
    ours, theirs = cascade(DictCascadeRoIHead), cascade(CascadeRoIHead)
    ours.load_state_dict(theirs.state_dict())
    assert type(theirs.roi_head) is CascadeRoIHead
    return ours, theirs


def test_losses_of_stages_equal_mmdet(cascades):
    test_losses_equal_mmdet(cascades)


@pytest.mark.parametrize('counts', [(7, 12), (0, 9), (0, 0)])
def test_predictions_of_stages_equal_mmdet(cascades, counts):
    test_predictions_equal_mmdet(cascades, counts, True)


def test_further_outputs_of_stages_arrive(registered):
    model = cascade(DictCascadeRoIHead, named=True).train()
    losses = losses_of(model, demo_batch([BOXES, []]))
    assert {f's{i}.loss_extra' for i in range(3)} < losses.keys()
    samples = demo_batch([BOXES, BOXES])['data_samples']
    with torch.no_grad():
        results = model.roi_head.eval().predict(
            features(), proposals(0, 9), samples
        )
    assert [len(r) > 0 for r in results] == [False, True]


def test_scores_are_averaged_over_the_stages():
    model = cascade(DictCascadeRoIHead).roi_head.eval()
    seen = {}

    class Stage(nn.Module):
        custom_activation = False

        def __init__(self, index):
            super().__init__()
            self.index = index

        def forward(self, feats):
            rows = torch.full((len(feats), 2), float(self.index))
            names = ('cls_score', 'bbox_pred', 'cls_score_b', 'last')
            return dict.fromkeys(names, rows)

        def regress_by_class(self, boxes, *_):
            return boxes + 1

        def predict_by_feat(self, **outputs):
            seen.update(outputs)

    model.bbox_head = nn.ModuleList(map(Stage, (0, 1, 5)))
    metas = [
        sample.metainfo for sample in demo_batch([[], []])['data_samples']
    ]
    start = proposals(3, 2)
    model.predict_bbox(features(), metas, start, None)
    for name, value in dict(
        cls_scores=2, cls_score_b=2, bbox_preds=5, last=5
    ).items():
        assert [out.tolist() for out in seen[name]] == [
            [[value] * 2] * 3,
            [[value] * 2] * 2,
        ]
    for rois, boxes in zip(seen['rois'], start, strict=True):
        assert torch.equal(rois[:, 1:], boxes.bboxes + 2)
