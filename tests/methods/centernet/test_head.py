import math

import pytest
import torch
from helpers import BOXES, demo_batch
from mmdet.models.dense_heads import CenterNetHead
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData

from mmdet_assigners.models.dense_heads import CenterPointHead
from mmdet_assigners.models.test_time_augs import CenterPointTTA

SIZE = (96, 128)
META = dict(batch_input_shape=SIZE, img_shape=SIZE)


def head_of(cls=CenterPointHead, **kwargs):
    torch.manual_seed(0)
    head = cls(
        4, 8, 3, test_cfg=dict(topk=20, local_maximum_kernel=3), **kwargs
    )
    return head


def objects(num, seed=0):
    torch.manual_seed(seed)
    low = torch.rand(num, 2) * torch.tensor([100.0, 70.0])
    sides = 4 + torch.rand(num, 2) * 24
    return InstanceData(
        bboxes=torch.cat((low, low + sides), 1),
        labels=torch.randint(0, 3, (num,)),
    )


def maps(stacks=1):
    torch.manual_seed(1)
    return [torch.randn(2, 4, 24, 32) for _ in range(stacks)]


@pytest.mark.parametrize('counts', [(5, 3), (40, 0), (0, 0)])
def test_the_rule_of_mmdet(counts):
    """Targets and losses of mmdet's head, also where objects share cells."""
    ours = head_of(gaussian_rule='mmdet')
    theirs = head_of(CenterNetHead)
    theirs.load_state_dict(ours.state_dict())
    gts = [objects(n, seed) for seed, n in enumerate(counts)]
    args = ([gt.bboxes for gt in gts], [gt.labels for gt in gts])
    shape = (2, 3, 24, 32)
    found, found_avg = ours.get_targets(*args, shape, SIZE)
    expected, expected_avg = theirs.get_targets(*args, shape, SIZE)
    assert int(found_avg) == int(expected_avg)
    torch.testing.assert_close(found, expected)
    x = maps()
    found = ours.loss_by_feat(*ours(x), gts, [META] * 2)
    expected = theirs.loss_by_feat(*theirs(x), gts, [META] * 2)
    torch.testing.assert_close(found, expected)


def test_targets_as_predictions_give_the_boxes():
    """Heat map, size and offset of the targets decode to all objects."""
    head = head_of()
    boxes = torch.tensor(
        [[8.0, 8, 30, 40], [60, 20, 90, 33], [101, 70, 117, 90]]
    )
    gt = InstanceData(bboxes=boxes, labels=torch.tensor([2, 0, 1]))
    outs = head([torch.zeros(1, 4, 24, 32)])
    targets = head.center_targets(head.bind_inputs(*outs, [gt], [META]))
    sizes, offsets = torch.zeros(2, 1, 2, 24 * 32)
    sizes[0][:, targets.index[0]] = targets.size[0].T
    offsets[0][:, targets.index[0]] = targets.offset[0].T
    (found,) = head.predict_by_feat(
        [targets.heatmap],
        [sizes.view(1, 2, 24, 32)],
        [offsets.view(1, 2, 24, 32)],
        [META],
    )
    best = found[found.scores == 1]
    order = best.labels.argsort()
    torch.testing.assert_close(best.bboxes[order], boxes[[1, 2, 0]])


def test_losses_are_means_over_the_stacks():
    head = head_of(num_stacks=2)
    gts = [objects(4), objects(2, 1)]
    outs = head(maps(2))
    both = head.loss_by_feat(*outs, gts, [META] * 2)
    single = [
        head.loss_by_feat(*([o[s]] for o in outs), gts, [META] * 2)
        for s in range(2)
    ]
    for name, value in both.items():
        mean = (single[0][name] + single[1][name]) / 2
        torch.testing.assert_close(value, mean)


def test_only_the_last_stack_predicts():
    head = head_of(num_stacks=2)
    head.earlier.requires_grad_(False)
    for parameter in head.earlier.parameters():
        parameter.fill_(float('nan'))
    samples = demo_batch([BOXES, BOXES])['data_samples']
    for sample in samples:
        sample.set_metainfo(META)
    found = head.predict(maps(2), samples)
    assert all(len(one) and one.bboxes.isfinite().all() for one in found)


def test_more_maps_than_stacks():
    with pytest.raises(ValueError, match='takes num_stacks=1 maps of one si'):
        head_of()(maps(2))


def test_sizes_of_classes():
    """A loss reaches the two channels of the object's class alone."""
    head = head_of(class_sizes=True)
    gt = objects(1)
    gt.labels[:] = 1
    heatmap, sizes, offsets = head([torch.randn(1, 4, 24, 32)])
    sizes[0].retain_grad()
    losses = head.loss_by_feat(heatmap, sizes, offsets, [gt], [META])
    losses['loss_wh'].backward()
    reached = sizes[0].grad.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [False, False, True, True, False, False]


def test_predictions_of_a_pipeline_without_border():
    """As through mmdet's ``init_detector``; with one they are moved."""
    head = head_of().eval()
    outs = head([torch.randn(1, 4, 24, 32)])
    (plain,) = head.predict_by_feat(*outs, [META], rescale=False)
    border = META | dict(border=[3.0, 90.0, 5.0, 120.0])
    (moved,) = head.predict_by_feat(*outs, [border], rescale=False)
    shift = torch.tensor([5.0, 3, 5, 3])
    torch.testing.assert_close(moved.bboxes + shift, plain.bboxes)
    scaled = border | dict(scale_factor=(0.5, 0.25))
    (scaled,) = head.predict_by_feat(*outs, [scaled], rescale=True)
    factor = torch.tensor([0.5, 0.25, 0.5, 0.25])
    torch.testing.assert_close(scaled.bboxes * factor, moved.bboxes)


def test_threshold_for_pictures():
    head = head_of()
    outs = head([torch.randn(1, 4, 24, 32)])
    (every,) = head.predict_by_feat(*outs, [META])
    limit = float(every.scores[7])
    head.test_cfg = dict(topk=20, local_maximum_kernel=3, score_thr=limit)
    (found,) = head.predict_by_feat(*outs, [META])
    torch.testing.assert_close(found.scores, every.scores[:7])


def test_dropped_objects_are_said(caplog):
    head = head_of(max_objects=2)
    outs = head([torch.randn(1, 4, 24, 32)])
    inputs = head.bind_inputs(*outs, [objects(5)], [META])
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    boxes, _, valid = head.objects(inputs)
    logger.removeHandler(caplog.handler)
    assert boxes.shape[1] == 2 and valid.all()
    assert 'an image has 5 objects, of which max_objects=2' in caplog.text


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(gaussian_rule='oficial'), "gaussian_rule must be one of .'off"),
        (dict(num_stacks=0), 'num_stacks must be at least 1, got 0'),
        (dict(max_objects=-1), 'max_objects must be at least 1 or None, got'),
        (
            dict(gaussian_rule='mmdet', class_sizes=True),
            "class_sizes needs gaussian_rule='official'",
        ),
        (
            dict(gaussian_rule='mmdet', max_objects=128),
            "max_objects needs gaussian_rule='official'",
        ),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        head_of(**options)


class Detector(torch.nn.Module):
    """Maps are averages of the image, so they mirror with it."""

    def __init__(self):
        super().__init__()
        self.bbox_head = head_of().eval()
        for parameter in self.bbox_head.parameters():
            if parameter.dim() == 4:  # symmetric kernels
                parameter.data += parameter.data.flip(-1)

    def test_step(self, data):
        raise AssertionError('the maps are needed, not the detections')

    def data_preprocessor(self, data, training):
        samples = data['data_samples']
        return dict(inputs=torch.stack(data['inputs']), data_samples=samples)

    def extract_feat(self, x):
        return (torch.nn.functional.avg_pool2d(x, 4),)

    def add_pred_to_datasample(self, samples, results):
        for sample, result in zip(samples, results, strict=True):
            sample.pred_instances = result
        return samples


def detect(images, flip=True, **options):
    samples = demo_batch([BOXES])['data_samples']
    views = []
    for image in images:
        sample = samples[0].new()
        size = tuple(image.shape[1:])
        sample.set_metainfo(
            dict(
                batch_input_shape=size,
                img_shape=size,
                scale_factor=(size[1] / 128, size[0] / 96),
                border=[0, size[0], 0, size[1]],
            )
        )
        views.append([sample])
    data = dict(inputs=[[image] for image in images], data_samples=views)
    tta = CenterPointTTA(module=Detector(), flip=flip, **options)
    (sample,) = tta.test_step(data)
    return sample.pred_instances


def test_flip_test_of_a_mirrored_image():
    """Same scores and sizes; the offset is that of the plain image."""
    torch.manual_seed(0)
    image = torch.randn(4, *SIZE)
    plain, mirrored = detect([image]), detect([image.flip(-1)])
    order = mirrored.scores.argsort(descending=True, stable=True)
    torch.testing.assert_close(mirrored.scores[order], plain.scores)
    sides = [r.bboxes[:, 2:] - r.bboxes[:, :2] for r in (plain, mirrored)]
    torch.testing.assert_close(sides[0], sides[1][order])
    assert not torch.equal(plain.scores, detect([image], flip=False).scores)


IOU = 110 / 132  # of inclusive boxes of 11 x 11 cells, one cell apart


def test_one_scale_may_be_suppressed_too():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10]])
    for nms_single, kept in (
        (False, 0.8),
        (True, 0.8 * math.exp(-2 * IOU**2)),
    ):
        (sample,) = demo_batch([BOXES])['data_samples']
        sample.pred_instances = InstanceData(
            bboxes=boxes,
            scores=torch.tensor([0.9, 0.8]),
            labels=torch.zeros(2, dtype=torch.long),
        )
        tta = CenterPointTTA(module=Detector(), nms_single=nms_single)
        (merged,) = tta.merge_preds([(sample,)])
        scores = merged.pred_instances.scores
        torch.testing.assert_close(scores, torch.tensor([0.9, kept]))


def test_scales_are_merged_by_soft_nms():
    torch.manual_seed(0)
    image = torch.randn(4, *SIZE)
    large = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    single = detect([image])
    both = detect([image, large])
    assert len(both) > len(single)
    assert (both.scores.diff() <= 0).all()
    assert both.scores[0] == max(single.scores[0], detect([large]).scores[0])


@pytest.mark.parametrize('rule', ['official', 'mmdet'])
def test_drawn_targets_are_those_of_the_loss(rule):
    """Also of a box that the border cuts."""
    head = head_of(gaussian_rule=rule)
    boxes = torch.tensor([[-60.0, 8, 24, 40], [60, 20, 92, 36]])
    gt = InstanceData(bboxes=boxes, labels=torch.tensor([2, 0]))
    outs = head([torch.zeros(1, 4, 24, 32)])
    (view,) = head.get_heatmaps(outs, [gt], [META])
    if rule == 'mmdet':
        shape = outs[0][0].shape
        wanted, _ = head.get_targets([boxes], [gt.labels], shape, SIZE)
        wanted = wanted['center_heatmap_target']
    else:
        wanted = head.center_targets(
            head.bind_inputs(*outs, [gt], [META])
        ).heatmap
    assert torch.equal(view.targets, wanted)
    (found,) = head.get_assignment(outs, [gt], [META])
    # mmdet leaves out what has its center outside
    owners = {0, 1} if rule == 'official' else {1}
    assert set(found.assigned_gt.tolist()) - {-1} == owners


def test_assignment_for_the_analysis_tools():
    head = head_of()
    boxes = torch.tensor(
        [[8.0, 8, 24, 40], [60, 20, 92, 36], [10, 12, 22, 36]]
    )
    gt = InstanceData(bboxes=boxes, labels=torch.tensor([2, 0, 1]))
    outs = head([torch.zeros(1, 4, 24, 32)])
    (found,) = head.get_assignment(outs, [gt], [META])
    cells = {6 * 32 + 4: 2, 7 * 32 + 19: 1}  # the first and the last share one
    for cell, owner in cells.items():
        assert found.assigned_gt[cell] == owner
        assert found.weight[cell] == 1
        center = (boxes[owner, :2] + boxes[owner, 2:]) / 2
        assert ((found.priors[cell] - center).abs() <= 2).all()
    assert (found.assigned_gt >= 0).sum() == len(cells)
    assert (found.stride == 4).all()
    assert found.weight[6 * 32 + 5] < found.weight[12 * 32] == 1
