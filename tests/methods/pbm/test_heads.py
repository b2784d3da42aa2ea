"""PBM: RPN, features of pairs, box head and RoI head."""

import copy

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmcv.ops import batched_nms
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.pbm.boxes import PairedBoxes
from mmdet_assigners.methods.pbm.coder import PairedDeltaXYWHBBoxCoder
from mmdet_assigners.methods.pbm.roi_extractor import PairedRoIExtractor
from mmdet_assigners.utils import config_path

MAIN = 'pbm_faster-rcnn_r50_fpn_30e_crowdhuman'
CONCAT = 'pbm-concat_faster-rcnn_r50_fpn_30e_crowdhuman'
NMS = dict(type='nms', iou_threshold=0.5)
R2NMS = dict(type='r2nms', iou_threshold=0.5)


def build(name=MAIN, **changes):
    cfg = mini_config(config_path(name))
    for key, value in changes.items():
        cfg.merge_from_dict({f'model.{key.replace("__", ".")}': value})
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def batch(*boxes):
    """Images whose objects show their upper half."""
    found = demo_batch(list(boxes))
    for sample in found['data_samples']:
        gts = sample.gt_instances
        gts.visible_bboxes = gts.bboxes.clone()
        gts.visible_bboxes[:, 3] -= (gts.bboxes[:, 3] - gts.bboxes[:, 1]) / 2
    return found


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60
    size = torch.rand(count, 2, generator=generator) * 40 + 10
    return torch.cat((corner, corner + size), 1)


@pytest.fixture(scope='module')
def model():
    return build()


@pytest.mark.parametrize(
    'name',
    [
        MAIN,
        CONCAT,
        'pbm-npm_faster-rcnn_r50_fpn_30e_crowdhuman',
        'pbm-nms_faster-rcnn_r50_fpn_30e_crowdhuman',
        'pbm_faster-rcnn_r50_fpn_1x_coco-pairs',
    ],
)
def test_deltas_are_scaled_as_those_of_the_baseline(name):
    coders = [
        build(config).roi_head.bbox_head.bbox_coder
        for config in (name, 'pbm-baseline_faster-rcnn_r50_fpn_30e_crowdhuman')
    ]
    ours, theirs = (tuple(coder.stds) for coder in coders)
    assert ours == theirs == (0.1, 0.1, 0.2, 0.2)


def test_coder_takes_one_prior_or_two():
    priors, full, visible = (random_boxes(5, seed) for seed in range(3))
    coder = PairedDeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    pairs = PairedBoxes.of(full, visible)
    for own in (priors, PairedBoxes.of(priors, random_boxes(5, 3))):
        deltas = coder.encode(own, pairs)
        assert deltas.shape == (5, 8)
        found = coder.decode(own, deltas)
        torch.testing.assert_close(found.tensor, pairs.tensor)


def test_a_step_trains_both_boxes(model):
    model.train()
    model.zero_grad()
    losses = losses_of(model, batch(BOXES, BOXES[:2]))
    for name in ('loss_rpn_bbox', 'loss_rpn_bbox_visible'):
        assert losses[name] > 0
    assert losses['loss_bbox'] > 0 and losses['loss_bbox_visible'] > 0
    assert losses['loss_bbox'] != losses['loss_bbox_visible']
    total_loss(losses).backward()
    for layer in (model.rpn_head.rpn_reg, model.roi_head.bbox_head.fc_reg):
        rows = layer.weight.grad.flatten(1).abs().sum(1).view(-1, 2, 4)
        assert (rows.sum((0, 2)) > 0).all()


@pytest.mark.parametrize('boxes', [[[], []], [BOXES, []]])
def test_images_without_objects(model, boxes):
    model.train()
    losses = losses_of(model, batch(*boxes))
    assert torch.isfinite(total_loss(losses))
    if not any(boxes):
        assert losses['loss_bbox_visible'] == 0
        assert losses['loss_rpn_bbox_visible'] == 0


def test_ground_truths_are_not_changed(model):
    data = batch(BOXES, BOXES)
    before = [copy.deepcopy(s.gt_instances) for s in data['data_samples']]
    losses_of(model.train(), data)
    for sample, own in zip(data['data_samples'], before, strict=True):
        assert sorted(sample.gt_instances.keys()) == sorted(own.keys())
        assert torch.equal(sample.gt_instances.bboxes, own.bboxes)


def test_a_loss_for_each_box(model):
    """Together they are mmdet's loss of eight columns."""
    head = model.roi_head.bbox_head
    torch.manual_seed(2)
    labels = torch.tensor([0, 1, 2, 2, 1])
    inputs = dict(
        cls_score=torch.randn(5, 3),
        bbox_pred=torch.randn(5, 16),
        rois=torch.zeros(5, 9),
        labels=labels,
        label_weights=torch.ones(5),
        bbox_targets=torch.randn(5, 8),
        bbox_weights=(labels < 2).float()[:, None].expand(-1, 8),
    )
    losses = head.loss(**inputs)
    parent = super(type(head), head).loss(**inputs)
    torch.testing.assert_close(
        losses['loss_bbox'] + losses['loss_bbox_visible'], parent['loss_bbox']
    )
    assert losses['loss_cls'] == parent['loss_cls']


def test_negatives_of_the_rpn_shrink_visible_boxes():
    data = batch([], [])
    plain = losses_of(build().train(), data)
    target = (0.0, 0.0, -3.0, -3.0)
    model = build(rpn_head__negative_visible_target=target).train()
    losses = losses_of(model, batch([], []))
    assert plain['loss_rpn_bbox_visible'] == 0
    assert losses['loss_rpn_bbox'] == 0
    # near 0, far from -3: |0 - 3| of two columns
    value = losses['loss_rpn_bbox_visible'].item()
    assert value == pytest.approx(6, rel=0.05)


def test_autocast_is_finite(model):
    head = model.roi_head.bbox_head
    with torch.autocast('cpu', torch.bfloat16):
        score, deltas = head(torch.randn(6, 128, 7, 7))
    labels = torch.tensor([0, 1, 2, 2, 2, 2])
    losses = head.loss(
        score.float(),
        deltas,
        torch.zeros(6, 9),
        labels,
        torch.ones(6),
        torch.randn(6, 8),
        (labels < 2).float()[:, None].expand(-1, 8),
    )
    assert all(torch.isfinite(value).all() for value in losses.values())


def test_predictions_are_pairs(model):
    model.eval()
    model.roi_head.test_cfg.score_thr = 0.0
    with torch.no_grad():
        data = model.data_preprocessor(batch(BOXES, BOXES), False)
        for sample in data['data_samples']:
            sample.set_metainfo(dict(scale_factor=(2.0, 1.0)))
        small = model.predict(
            data['inputs'], [sample.clone() for sample in data['data_samples']]
        )
        large = model.predict(
            data['inputs'],
            [sample.clone() for sample in data['data_samples']],
            rescale=False,
        )
    for one, other in zip(small, large, strict=True):
        one, other = one.pred_instances, other.pred_instances
        assert len(one) > 0
        assert one.visible_bboxes.shape == one.bboxes.shape
        scale = torch.tensor([2.0, 1, 2, 1])
        for key in ('bboxes', 'visible_bboxes'):
            # the same pairs: visible boxes are scaled with full ones
            torch.testing.assert_close(one[key] * scale, other[key])


def head_inputs(head, count=30):
    torch.manual_seed(3)
    boxes = random_boxes(count)
    roi = torch.cat((torch.zeros(count, 1), boxes, random_boxes(count, 1)), 1)
    return dict(
        roi=roi,
        cls_score=2 * torch.randn(count, 3),
        bbox_pred=torch.randn(count, 16),
        img_meta=dict(img_shape=(100, 100)),
    )


@pytest.mark.parametrize('nms', [NMS, R2NMS])
def test_visible_or_full_boxes_decide(model, nms):
    head = model.roi_head.bbox_head
    inputs = head_inputs(head)
    cfg = ConfigDict(score_thr=0.1, nms=nms, max_per_img=100)
    found = head._predict_by_feat_single(**inputs, rcnn_test_cfg=cfg)
    raw = head._predict_by_feat_single(**inputs)
    row, label = (raw.scores[:, :-1] > 0.1).nonzero(as_tuple=True)
    scores = raw.scores[row, label]
    full, visible = (
        raw[key].view(30, 2, 4)[row, label]
        for key in ('bboxes', 'visible_bboxes')
    )
    compared = visible if nms is R2NMS else full
    _, keep = batched_nms(compared, scores, label, NMS)
    assert 0 < len(keep) < len(scores)
    assert torch.equal(found.bboxes, full[keep])
    assert torch.equal(found.visible_bboxes, visible[keep])
    assert torch.equal(found.scores, scores[keep])
    assert torch.equal(found.labels, label[keep])


def test_soft_nms_lowers_scores(model):
    head = model.roi_head.bbox_head
    inputs = head_inputs(head)
    cfg = ConfigDict(
        score_thr=0.1, nms=dict(NMS, type='soft_nms'), max_per_img=9
    )
    found = head._predict_by_feat_single(**inputs, rcnn_test_cfg=cfg)
    assert len(found) == len(found.visible_bboxes) == 9


def test_r2nms_refuses_other_keys(model):
    head = model.roi_head.bbox_head
    cfg = ConfigDict(score_thr=0.1, nms=dict(R2NMS, sigma=1), max_per_img=9)
    with pytest.raises(TypeError, match='r2nms has no key sigma; it has iou'):
        head._predict_by_feat_single(**head_inputs(head), rcnn_test_cfg=cfg)


@pytest.mark.parametrize(
    'nms', [dict(type='r2nms'), dict(R2NMS, iou_threshold=5)]
)
def test_r2nms_needs_a_threshold(model, nms):
    head = model.roi_head.bbox_head
    cfg = ConfigDict(score_thr=0.1, nms=nms, max_per_img=9)
    with pytest.raises(
        ValueError, match=r'r2nms must be 0 to 1, got (None|5)'
    ):
        head._predict_by_feat_single(**head_inputs(head), rcnn_test_cfg=cfg)


def test_proposals_by_visible_boxes(model):
    """Two anchors' pairs: full boxes are one, visible boxes are two."""
    head = model.rpn_head
    full = torch.tensor([[0.0, 0, 40, 40], [1, 0, 41, 40]])
    visible = torch.tensor([[0.0, 0, 10, 40], [30, 0, 41, 40]])
    for nms, count in ((NMS, 1), (R2NMS, 2)):
        cfg = ConfigDict(nms=nms, max_per_img=10, min_bbox_size=0)
        results = InstanceData(
            bboxes=PairedBoxes.of(full, visible),
            scores=torch.tensor([0.9, 0.8]),
            level_ids=torch.zeros(2),
        )
        found = head._bbox_post_process(results, cfg)
        assert torch.equal(found.bboxes, full[:count])
        assert torch.equal(found.visible_bboxes, visible[:count])
    results = InstanceData(
        bboxes=PairedBoxes.of(full, visible),
        scores=torch.tensor([0.9, 0.8]),
        level_ids=torch.zeros(2),
    )
    cfg = ConfigDict(nms=NMS, max_per_img=10, min_bbox_size=99)
    meta = dict(scale_factor=(1.0, 1.0))
    found = head._bbox_post_process(results, cfg, True, img_meta=meta)
    assert found.visible_bboxes.shape == (0, 4)


@pytest.mark.parametrize('counts', [(0, 4), (0, 0)])
def test_no_proposals(model, counts):
    head = model.roi_head.eval()
    feats = [torch.randn(2, 64, 128 // s, 160 // s) for s in (4, 8, 16, 32)]
    samples = batch(BOXES, BOXES)['data_samples']
    proposals = [
        InstanceData(bboxes=random_boxes(n), visible_bboxes=random_boxes(n, 1))
        for n in counts
    ]
    with torch.no_grad():
        found = head.predict(feats, proposals, samples)
    for results, count in zip(found, counts, strict=True):
        assert (len(results) > 0) == (count > 0)
        assert results.visible_bboxes.shape == results.bboxes.shape
    if not any(counts):
        losses = head.train().loss(feats, proposals, samples)
        assert torch.isfinite(total_loss(losses))


def extractor(strides=(4, 8), **options):
    init_default_scope('mmdet')
    return PairedRoIExtractor(
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
        out_channels=3,
        featmap_strides=list(strides),
        **options,
    )


def maps():
    torch.manual_seed(4)
    return torch.randn(2, 3, 64, 64), torch.randn(2, 3, 32, 32)


def pairs(full, visible):
    rows = torch.zeros(len(full), 9)
    rows[:, 1:5], rows[:, 5:] = torch.tensor(full), torch.tensor(visible)
    return rows


def test_equal_boxes_have_equal_features():
    box = [[20.0, 20, 60, 80]]
    for mode in ('mask', 'concat'):
        found = extractor(mode=mode)(maps(), pairs(box, box))
        assert torch.equal(found[:, :3], found[:, 3:])
    rows = pairs(box, [[100.0, 100, 120, 120]])
    found = extractor()(maps(), rows)
    assert (found[:, :3] == 0).all() and (found[:, 3:] != 0).any()
    full = extractor(mode='full')(maps(), rows)
    assert torch.equal(full, extractor(mode='concat')(maps(), rows)[:, :3])
    part = pairs(box, [[20.0, 20, 42, 80]])
    shares = extractor(mask_rule='area').mask(part)[0, 0, 0]
    torch.testing.assert_close(shares[3], torch.tensor(0.85))
    assert extractor(mask_rule='center').mask(part)[0, 0, 0, 3] == 1


def test_levels():
    """The full box has level 1, the visible one by itself level 0."""
    first, second = maps()
    rows = pairs([[0.0, 0, 150, 150]], [[0.0, 0, 50, 50]])
    for share, level in ((False, 0), (True, 1)):
        changed = extractor(share_level=share, mode='concat')
        base = changed((first, second), rows)
        other = [first, second]
        other[level] = other[level] + 1
        moved = changed(tuple(other), rows)[:, 3:] - base[:, 3:]
        torch.testing.assert_close(moved, torch.ones_like(moved))
    assert extractor(share_level=True)(maps(), rows[:0]).shape == (0, 6, 7, 7)
    enlarged = extractor(share_level=True)(maps(), rows, 1.3)
    assert enlarged.shape == (1, 6, 7, 7)


def test_refuses_boxes_that_are_no_pairs():
    with pytest.raises(ValueError, match=r'needs pairs, rois \(N, 9\), got'):
        extractor()(maps(), torch.zeros(2, 5))
    with pytest.raises(ValueError, match="mode must be one of.*got 'masks'"):  # noqa: RUF043
        extractor(mode='masks')
    with pytest.raises(ValueError, match='mask_rule must be one of center'):
        extractor(mask_rule='x')


@pytest.mark.parametrize(
    ('changes', 'error', 'text'),
    [
        (
            dict(rpn_head__bbox_coder__type='DeltaXYWHBBoxCoder'),
            TypeError,
            'bbox_coder must be a PairedDeltaXYWHBBoxCoder',
        ),
        (
            dict(roi_head__bbox_head__reg_decoded_bbox=True),
            ValueError,
            'reg_decoded_bbox of PairedBBoxHead must be False',
        ),
        (
            dict(rpn_head__loss_bbox=dict(type='GIoULoss')),
            TypeError,
            'loss_bbox of PairedRPNHead compares deltas',
        ),
        (
            dict(rpn_head__negative_visible_target=(0, 0)),
            ValueError,
            'negative_visible_target must be four deltas',
        ),
        (
            dict(roi_head__bbox_head__type='Shared2FCBBoxHead'),
            TypeError,
            'bbox_head must be a PairedBBoxHead',
        ),
    ],
)
def test_refuses(changes, error, text):
    with pytest.raises(error, match=text):
        build(**changes)


def test_refuses_masks():
    head = dict(type='FCNMaskHead', num_classes=2)
    with pytest.raises(ValueError, match='PairedRoIHead has no masks'):
        build(roi_head__mask_head=head)
