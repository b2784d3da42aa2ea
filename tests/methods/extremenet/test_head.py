import logging

import pytest
import torch
from helpers import BOXES, demo_batch
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData

from mmdet_assigners.methods.extremenet import ExtremeHead, ExtremeTTA
from mmdet_assigners.methods.extremenet.points import (
    MIRRORED,
    edge_midpoints,
    warn_of_midpoints,
)

SIZE = (96, 128)
META = dict(batch_input_shape=SIZE, img_shape=SIZE, ori_shape=SIZE)


def head_of(**kwargs):
    torch.manual_seed(0)
    head = ExtremeHead(3, 4, 8, **kwargs)
    head.init_weights()
    return head


def maps(stacks=1, batch=1):
    torch.manual_seed(1)
    return [torch.randn(batch, 4, 24, 32) for _ in range(stacks)]


def gt_of(boxes, labels, points=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    if points is None:
        points = edge_midpoints(boxes)
    return InstanceData(
        bboxes=boxes,
        labels=torch.tensor(labels, dtype=torch.long),
        extreme_points=torch.as_tensor(points, dtype=torch.float32),
    )


# every other coordinate of a point is on the side of the box
OBJECTS = gt_of(
    [[8, 8, 30, 40], [60, 20, 90, 33], [95, 50, 117, 90]],
    [2, 0, 2],
    [
        [[20, 8], [8, 12], [13, 40], [30, 33]],
        [[62, 20], [60, 30], [77, 33], [90, 21]],
        [[106, 50], [95, 64], [111, 90], [117, 75]],
    ],
)


def as_predictions(head, gt):
    """Targets as the predictions that they ask for."""
    outs = head(maps())
    inputs = head.bind_inputs(*outs, [gt], [META])
    targets = head.targets_of(inputs)
    offsets = torch.zeros(1, 4, 2, 24 * 32)
    for i in range(4):
        cells = targets.index[0, i]
        offsets[0, i][:, cells] = targets.offsets[0, i].T
    logits = torch.logit(targets.heatmaps.clamp(1e-6, 0.99))
    return [logits], [offsets.view(1, 4, 2, 24, 32)]


def test_targets_as_predictions_give_the_objects():
    head = head_of(test_cfg=dict(aggr_weight=0.0, score_thr=0.5))
    (found,) = head.predict_by_feat(*as_predictions(head, OBJECTS), [META])
    best = found[found.scores > 0.9]
    order = best.bboxes[:, 0].argsort()
    torch.testing.assert_close(best.bboxes[order], OBJECTS.bboxes)
    torch.testing.assert_close(
        best.extreme_points[order], OBJECTS.extreme_points
    )
    assert torch.equal(best.labels[order], OBJECTS.labels)


def test_centers_that_rounding_moves():
    """Left 2.6 and right 7.5 cells: trained at 5.05, looked for at 9 // 2."""
    box = gt_of([[10.4, 8, 30, 40]], [1])
    head = head_of(test_cfg=dict(aggr_weight=0.0))
    (logits,), offsets = as_predictions(head, box)
    logits[logits < 4] = -9  # no Gaussians
    outs = [logits], offsets
    assert not len(head.predict_by_feat(*outs, [META])[0])
    head.test_cfg['center_kernel'] = 3
    (found,) = head.predict_by_feat(*outs, [META])
    torch.testing.assert_close(found.bboxes, box.bboxes)


def test_predictions_of_a_pipeline_without_border():
    """As through mmdet's ``init_detector``; with one they are moved."""
    head = head_of()
    outs = as_predictions(head, OBJECTS)
    (plain,) = head.predict_by_feat(*outs, [META])
    border = META | dict(border=[3, 96, 5, 128], scale_factor=(0.5, 0.25))
    (moved,) = head.predict_by_feat(*outs, [border])
    shift = torch.tensor([5.0, 3, 5, 3])
    torch.testing.assert_close(moved.bboxes + shift, plain.bboxes)
    (scaled,) = head.predict_by_feat(*outs, [border], rescale=True)
    factor = torch.tensor([0.5, 0.25, 0.5, 0.25])
    torch.testing.assert_close(scaled.bboxes * factor, moved.bboxes)
    torch.testing.assert_close(
        scaled.extreme_points * factor[:2], moved.extreme_points
    )


def test_losses_are_means_over_the_stacks():
    head = head_of(num_feat_levels=2)
    outs = head(maps(2))
    both = head.loss_by_feat(*outs, [OBJECTS], [META])
    single = [
        head.loss_by_feat([outs[0][s]], [outs[1][s]], [OBJECTS], [META])
        for s in range(2)
    ]
    for name, value in both.items():
        mean = (single[0][name] + single[1][name]) / 2
        torch.testing.assert_close(value, mean)


def test_only_the_last_stack_predicts():
    head = head_of(num_feat_levels=2)
    for parameter in head.stacks[0].parameters():
        parameter.data.fill_(float('nan'))
    samples = demo_batch([BOXES])['data_samples']
    samples[0].set_metainfo(META)
    (found,) = head.predict(maps(2), samples)
    assert len(found) and found.bboxes.isfinite().all()


def test_more_maps_than_stacks():
    with pytest.raises(ValueError, match='takes num_feat_levels=1 maps of o'):
        head_of()(maps(2))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_feat_levels=0), 'num_feat_levels must be at least 1, got 0'),
        (dict(clamp=0.7), 'clamp must be from 0 to below 0.5, got 0.7'),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        head_of(**options)


def test_clamped_probabilities_have_no_gradient():
    head = head_of(clamp=0.2)
    heat, offset = head(maps())
    heat = [(10 * heat[0]).detach().requires_grad_()]
    losses = head.loss_by_feat(heat, offset, [OBJECTS], [META])
    (losses['loss_heatmap'] + losses['loss_center']).backward()
    outside = (heat[0].sigmoid() - 0.5).abs() > 0.3
    assert outside.any() and not heat[0].grad[outside].any()
    assert heat[0].grad[~outside].all()


def test_masks_and_boxes_outside_the_input():
    """Points are moved to the border; boxes without area are left out."""
    gt = gt_of(
        [[-20, -10, 40, 200], [130, 10, 160, 20], [50, 5, 50, 9]], [0, 1, 2]
    )
    head = head_of()
    inputs = head.bind_inputs(*head(maps()), [gt], [META])
    targets = head.targets_of(inputs)
    assert targets.valid.tolist() == [[True, False, False]]
    x, y = targets.index[0, :, 0] % 32, targets.index[0, :, 0] // 32
    assert x.tolist() == [2, 0, 2, 10, 5]
    assert y.tolist() == [0, 23, 23, 23, 11]
    assert not targets.heatmaps[0, :, 1:].any()


def listen(caplog, call):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING):
            return call()
    finally:
        logger.removeHandler(caplog.handler)


def test_boxes_alone_give_midpoints_and_one_warning(caplog):
    head = head_of()
    outs = head(maps())
    boxes = InstanceData(bboxes=OBJECTS.bboxes, labels=OBJECTS.labels)
    middles = gt_of(OBJECTS.bboxes.tolist(), OBJECTS.labels.tolist())
    warn_of_midpoints.cache_clear()

    def run():
        head.loss_by_feat(*outs, [boxes], [META])
        return head.loss_by_feat(*outs, [boxes], [META])

    found = listen(caplog, run)
    expected = head.loss_by_feat(*outs, [middles], [META])
    torch.testing.assert_close(found, expected)
    assert caplog.text.count('this is not the supervision of ExtremeNet') == 1


def test_points_of_other_objects():
    head = head_of()
    gt = InstanceData(bboxes=OBJECTS.bboxes, labels=OBJECTS.labels)
    gt.extreme_points = torch.zeros(3, 5, 2)
    with pytest.raises(ValueError, match=r'shape \(3, 4, 2\), got \(3, 5, 2'):
        head.loss_by_feat(*head(maps()), [gt], [META])


def test_a_thousand_objects():
    torch.manual_seed(0)
    low = torch.rand(1000, 2) * 80
    boxes = torch.cat((low, low + 1 + torch.rand(1000, 2) * 10), 1)
    gt = gt_of(boxes.tolist(), [i % 3 for i in range(1000)])
    head = head_of()
    losses = head.loss_by_feat(*head(maps()), [gt], [META])
    assert all(value.isfinite() for value in losses.values())


def test_class_ids_beyond_the_classes():
    head = head_of()
    gt = gt_of([[8, 8, 30, 40]], [3])
    with pytest.raises(ValueError, match='labels must be from 0 to 2'):
        head.loss_by_feat(*head(maps()), [gt], [META])


def instances(boxes, scores):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return InstanceData(
        bboxes=boxes,
        scores=torch.tensor(scores),
        labels=torch.zeros(len(boxes), dtype=torch.long),
        extreme_points=edge_midpoints(boxes),
    )


def test_ghosts_in_the_result():
    """Only with the option; with a larger multiple it is none."""
    head = head_of(test_cfg=dict(suppress_ghost=True))
    parts = [[0, 0, 100, 20], [0, 0, 20, 20], [60, 0, 100, 20]]
    scores = [0.75, 0.7, 0.8]
    found = head.finish(instances(parts, scores), META)
    assert (found.scores.diff() <= 0).all()
    ghost = found.bboxes[:, 2] - found.bboxes[:, 0] == 100
    plain = head.finish(instances(parts, scores), META, dict(max_per_img=2))
    assert len(plain) == 2
    rest = head.finish(instances(parts, scores), META, dict(max_per_img=-1))
    whole = rest.bboxes[:, 2] - rest.bboxes[:, 0] == 100
    assert found.scores[ghost] == pytest.approx(rest.scores[whole] / 2)
    high = dict(suppress_ghost=True, ghost_multiplier=9.0)
    same = head.finish(instances(parts, scores), META, high)
    torch.testing.assert_close(same.scores, rest.scores)
    empty = head.finish(instances([], []), META)
    assert len(empty) == 0


def test_octagon_masks():
    """Between the diamond of the points and the box."""
    head = head_of(test_cfg=dict(octagon_masks=True))
    found = head.finish(instances([[20, 10, 60, 50]], [0.9]), META)
    assert found.masks.shape == (1, *SIZE) and found.masks.dtype == torch.bool
    y, x = found.masks[0].nonzero(as_tuple=True)
    assert (int(x.min()), int(x.max())) == (20, 59)
    assert (int(y.min()), int(y.max())) == (10, 49)
    # a square of 40 without four corners of 15 x 15 / 2
    assert int(found.masks.sum()) == pytest.approx(1600 - 450, rel=0.05)
    assert head.finish(instances([], []), META).masks.shape == (0, *SIZE)


class Detector(torch.nn.Module):
    """Maps are the image itself, so they mirror with it."""

    def __init__(self, outs_of):
        super().__init__()
        self.bbox_head = head_of()
        self.bbox_head.forward = outs_of

    def test_step(self, data):
        raise AssertionError('the maps are needed, not the detections')

    def data_preprocessor(self, data, training):
        samples = data['data_samples']
        return dict(inputs=torch.stack(data['inputs']), data_samples=samples)

    def extract_feat(self, x):
        return (x,)

    def add_pred_to_datasample(self, samples, results):
        for sample, result in zip(samples, results, strict=True):
            sample.pred_instances = result
        return samples


def detect(outs, flip, scales=1):
    """Detections of a detector whose maps of the image are given."""
    heat, offset = outs

    def outs_of(feats):
        (x,) = feats
        mirrored = heat[:, [*MIRRORED, 4]].flip(-1)
        moved = offset[:, MIRRORED].flip(-1).clone()
        moved[:, :, 0] = 1 - moved[:, :, 0]  # x of a point is W - x
        both = [(heat, offset), (mirrored, moved)][: len(x)]
        return tuple([torch.cat(part)] for part in zip(*both, strict=True))

    sample = demo_batch([BOXES])['data_samples'][0].new()
    sample.set_metainfo(META | dict(scale_factor=(1.0, 1.0)))
    data = dict(
        inputs=[[torch.zeros(3, *SIZE)]] * scales,
        data_samples=[[sample.clone()] for _ in range(scales)],
    )
    tta = ExtremeTTA(module=Detector(outs_of), flip=flip)
    (sample,) = tta.test_step(data)
    return sample.pred_instances


def test_flip_test_finds_each_object_twice():
    """The mirror image gives the same boxes; soft-NMS lowers the second."""
    heat, offset = (m[0] for m in as_predictions(head_of(), OBJECTS))
    plain = detect((heat, offset), flip=False)
    both = detect((heat, offset), flip=True)
    assert len(both) > len(plain)
    best = both[both.scores > 0.9]
    assert len(best) == 3
    order = best.bboxes[:, 0].argsort()
    # centers are rounded down in both directions, not the boxes
    torch.testing.assert_close(
        best.bboxes[order], OBJECTS.bboxes, rtol=0, atol=4.0
    )
    scales = detect((heat, offset), flip=False, scales=2)
    assert len(scales) > len(plain) and (scales.scores.diff() <= 0).all()
