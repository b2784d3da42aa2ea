"""Mask Refining R-CNN."""

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.methods.shape_aware.functional import own_mask
from mmdet_assigners.utils import config_path

MAIN = 'mask-refining-rcnn_r50_fpn_1x_coco'
PLAIN = 'mask-refining-rcnn_no-shape_r50_fpn_1x_coco'


def detector(name=MAIN, **roi_head):
    cfg = mini_config(config_path(name)).model
    cfg.roi_head.update(roi_head)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def features(model, boxes, training=True):
    data = model.data_preprocessor(demo_batch(boxes), training)
    samples = data['data_samples']
    feats = model.extract_feat(data['inputs'])
    proposals = [
        InstanceData(bboxes=sample.gt_instances.bboxes + 3)
        for sample in samples
    ]
    return feats, proposals, samples


def test_without_shapes_it_is_a_cascade():
    """Losses, bit for bit, and boxes of the same scores."""
    ours = detector(PLAIN)
    cfg = mini_config(config_path(PLAIN)).model
    head = cfg.roi_head
    names = [n for n in head if n.startswith('refine_')]
    for name in names:
        first = name.removeprefix('refine_')
        head[first] = [head[first], head.pop(name)]
    head.update(type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 1])
    theirs = MODELS.build(cfg)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        losses.append(losses_of(model.train(), demo_batch([BOXES, BOXES[:1]])))
    assert losses[0].keys() == losses[1].keys()
    for name, value in losses[0].items():
        other = losses[1][name]
        pairs = (
            zip(value, other, strict=True)
            if isinstance(value, list)
            else [(value, other)]
        )
        assert all(torch.equal(*pair) for pair in pairs), name


def test_scores_are_means_of_probabilities():
    model = detector().eval()
    head = model.roi_head
    record = []
    for box_head in head.bbox_head:
        box_head.register_forward_hook(
            lambda _, args, out: record.append(out[0].softmax(1))
        )
    with torch.no_grad():
        feats, proposals, samples = features(model, [BOXES], False)
        metas = [sample.metainfo for sample in samples]
        (found,) = head.predict_bbox(feats, metas, proposals, None)
    assert len(record) == 2
    torch.testing.assert_close(found.scores, (record[0] + record[1]) / 2)


def spied(head):
    """RoIs and classes of each call for masks of the first stage."""
    calls, guide = [], head._guide

    def spy(extractor, x, rois, classes):
        calls.append((rois, classes))
        return guide(extractor, x, rois, classes)

    head._guide = spy
    return calls


def test_classes_of_the_masks_in_training():
    """That of the ground truth of positives, else the likeliest one."""
    model = detector().train()
    head = model.roi_head
    first = head.bbox_head[0]
    nn.init.normal_(first.fc_cls.weight)  # all classes, not one
    calls, stages = spied(head), []
    loss = head.bbox_loss

    def bbox_loss(stage, x, sampling_results):
        results = loss(stage, x, sampling_results)
        stages.append((results, sampling_results))
        return results

    head.bbox_loss = bbox_loss
    losses_of(model, demo_batch([BOXES, BOXES[:2]]))
    (rois, classes), *others = calls
    assert not others  # masks of positives are taken from these
    assert len(classes) == len(rois) > 20
    (results, _), (_, sampled) = stages
    likeliest = results['cls_score'][:, :-1].argmax(1)
    labels = results['bbox_targets'][0]
    moved = first.regress_by_class(
        results['rois'][:, 1:],
        labels.where(labels < 2, likeliest),
        results['bbox_pred'],
        dict(img_shape=(128, 160)),
    )
    moved = torch.cat((results['rois'][:, :1], moved), 1).detach()
    place = (rois[:, None] - moved).abs().amax(2)
    start, seen = 0, set()
    for result in sampled:
        positives, count = len(result.pos_priors), len(result.priors)
        own = classes[start : start + positives]
        assert torch.equal(own, result.pos_gt_labels)
        rows = range(start + positives, start + count)
        for row in rows:
            near = place[row].argmin()
            assert place[row, near] < 1e-4
            assert classes[row] == likeliest[near]
            seen.add(classes[row].item())
        start += count
    assert seen == {0, 1}


def test_guide_is_on_the_rois_of_the_second_stage():
    model = detector().eval()
    head = model.roi_head
    given = []
    for extractor in (head.bbox_roi_extractor[1], head.mask_roi_extractor[1]):
        extractor.register_forward_hook(
            lambda _, args, kwargs, out: given.append((args[1], kwargs)),
            with_kwargs=True,
        )
    calls = spied(head)
    with torch.no_grad():
        feats, proposals, samples = features(model, [BOXES], False)
        head.test_cfg.score_thr = 0.0
        (found,) = head.predict(feats, proposals, samples)
        boxes, masks = given
        for (rois, kwargs), (guided, classes) in zip(
            given, calls, strict=True
        ):
            assert torch.equal(rois, guided)
            logits = head.mask_head[0](
                head.mask_roi_extractor[0](feats[:4], rois)
            )
            expected = own_mask(logits, classes)
            torch.testing.assert_close(kwargs['masks'], expected)
    # the detections' boxes and classes
    torch.testing.assert_close(masks[0][:, 1:], found.bboxes)
    assert torch.equal(calls[1][1], found.labels)
    assert boxes[0].shape != masks[0].shape or not torch.equal(
        boxes[0], masks[0]
    )


@pytest.mark.parametrize('detach', [False, True])
def test_second_stage_trains_the_first_mask_head(detach):
    model = detector()
    cfg = mini_config(config_path(MAIN)).model
    for name in ('bbox', 'mask'):
        cfg.roi_head[f'refine_{name}_roi_extractor'].detach_mask = detach
    torch.manual_seed(0)
    model = MODELS.build(cfg).train()
    losses = losses_of(model, demo_batch([BOXES]))
    second = sum(v for n, v in losses.items() if n.startswith('s1.loss'))
    second.backward()
    grad = model.roi_head.mask_head[0].conv_logits.weight.grad
    assert (grad is None or (grad == 0).all()) == detach


def test_shape_of_the_masks_alone():
    """Boxes without shapes: masks still have those of their positives."""
    model = detector()
    cfg = mini_config(config_path(MAIN)).model
    cfg.roi_head.refine_bbox_roi_extractor.type = 'SingleRoIExtractor'
    cfg.roi_head.refine_bbox_roi_extractor.pop('mode', None)
    model = MODELS.build(cfg).train()
    calls = spied(model.roi_head)
    losses = losses_of(model, demo_batch([BOXES]))
    *_, (rois, classes) = calls
    assert 0 < len(rois) == len(classes) < 64
    assert torch.isfinite(total_loss(losses))


def test_no_proposals():
    model = detector()
    head = model.roi_head.train()
    expected = head.loss(*features(model, [BOXES, BOXES])).keys()
    feats, proposals, samples = features(model, [[], []])
    losses = head.loss(feats, proposals, samples)
    assert losses.keys() == expected
    loss = total_loss(losses)
    assert loss == 0
    loss.backward()
    assert all(p.grad is not None for p in head.parameters())
    head.eval()
    for boxes in ([[], []], [[], BOXES]):
        with torch.no_grad():
            found = head.predict(*features(model, boxes, False))
        assert [len(one.masks) for one in found] == [len(f) for f in found]


def test_autocast_is_finite():
    model = detector().train()
    feats, proposals, samples = features(model, [BOXES, BOXES[:2]])
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.roi_head.loss(feats, proposals, samples)
    loss = total_loss(losses)
    assert torch.isfinite(loss) and loss.dtype == torch.float32
    loss.backward()


def test_refuses():
    with pytest.raises(ValueError, match='mask_head needs mask_head and refi'):
        detector(refine_mask_head=None)
    cfg = mini_config(config_path(MAIN)).model
    cfg.train_cfg.rcnn = cfg.train_cfg.rcnn[0]
    with pytest.raises(ValueError, match='MaskRefiningRoIHead must be a list'):
        MODELS.build(cfg)
