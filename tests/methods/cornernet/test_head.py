import math

import pytest
import torch
from helpers import BOXES, demo_batch
from mmdet.models.dense_heads import CornerHead
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData

from mmdet_assigners.methods.cornernet import CornerPairHead, CornerPairTTA

SIZE = (96, 128)
META = dict(batch_input_shape=SIZE, img_shape=SIZE, ori_shape=SIZE)
TEST = dict(
    corner_topk=100,
    local_maximum_kernel=3,
    distance_threshold=0.5,
    max_per_img=100,
    nms=dict(type='soft_nms', iou_threshold=0.5, method='gaussian'),
)


def head_of(cls=CornerPairHead, stacks=1, test_cfg=(), **kwargs):
    torch.manual_seed(0)
    head = cls(
        3,
        4,
        stacks,
        test_cfg=ConfigDict(TEST | dict(test_cfg)),
        **kwargs,
    )
    head.init_weights()
    return head


def maps(stacks=1, batch=2):
    torch.manual_seed(1)
    return [torch.randn(batch, 4, 24, 32) for _ in range(stacks)]


def objects(num, seed=0):
    torch.manual_seed(seed)
    low = torch.rand(num, 2) * torch.tensor([100.0, 70.0])
    sides = 1 + torch.rand(num, 2) * 25
    return InstanceData(
        bboxes=torch.cat((low, low + sides), 1),
        labels=torch.randint(0, 3, (num,)),
    )


def gt_of(boxes, labels):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
    )


def pair_of_heads(stacks):
    ours, theirs = head_of(stacks=stacks), head_of(CornerHead, stacks)
    theirs.load_state_dict(ours.state_dict())
    return ours.eval(), theirs.eval()


COUNTS = [(5, 3), (60, 1), (4, 0), (0, 0)]


@pytest.mark.parametrize('counts', COUNTS)
def test_targets_of_mmdet(counts):
    """All maps and cells, also where objects share a cell."""
    ours, theirs = pair_of_heads(1)
    gts = [objects(n, seed) for seed, n in enumerate(counts)]
    args = ([gt.bboxes for gt in gts], [gt.labels for gt in gts])
    args = (*args, (2, 3, 24, 32), SIZE, True)
    found, expected = ours.get_targets(*args), theirs.get_targets(*args)
    assert found.pop('corner_embedding') == expected.pop('corner_embedding')
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('counts', COUNTS)
def test_losses_and_gradients_of_mmdet(counts):
    ours, theirs = pair_of_heads(2)
    gts = [objects(n, seed) for seed, n in enumerate(counts)]
    x = maps(2)
    found = ours.loss_by_feat(*ours(x), gts, [META] * 2)
    expected = theirs.loss_by_feat(*theirs(x), gts, [META] * 2)
    expected = {name: sum(stacks) for name, stacks in expected.items()}
    torch.testing.assert_close(found, expected)
    # without objects mmdet's embeddings of the second corner are not in it
    ours, theirs = (
        torch.autograd.grad(
            sum(losses.values()), head.parameters(), materialize_grads=True
        )
        for losses, head in ((found, ours), (expected, theirs))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad
def test_detections_of_mmdet():
    """Of the last stack, moved by the border, with soft-NMS and without."""
    ours, theirs = pair_of_heads(2)
    x = maps(2)
    border = META | dict(border=[3, 93, 5, 120], scale_factor=(0.5, 0.25))
    for options in (dict(), dict(rescale=True), dict(with_nms=False)):
        found = ours.predict_by_feat(*ours(x[-1:]), [border] * 2, **options)
        expected = theirs.predict_by_feat(*theirs(x), [border] * 2, **options)
        for one, other in zip(found, expected, strict=True):
            assert len(one) == len(other) > 10
            # scores may tie: two sums of the same two heats
            one, other = (r[r.bboxes.sum(1).argsort()] for r in (one, other))
            assert torch.equal(one.labels, other.labels)
            torch.testing.assert_close(one.scores, other.scores)
            torch.testing.assert_close(
                one.bboxes, other.bboxes, rtol=1e-5, atol=1e-3
            )


def test_mean_over_the_stacks():
    plain, mean = head_of(stacks=2), head_of(stacks=2, mean_stacks=True)
    gts = [objects(4), objects(2, 1)]
    outs = plain(maps(2))
    total = plain.loss_by_feat(*outs, gts, [META] * 2)
    half = mean.loss_by_feat(*outs, gts, [META] * 2)
    for name, value in total.items():
        torch.testing.assert_close(half[name], value / 2)


def test_sum_over_the_corners():
    plain, both = head_of(), head_of(sum_corners=True)
    gts = [objects(4), objects(2, 1)]
    outs = plain(maps())
    mean = plain.loss_by_feat(*outs, gts, [META] * 2)
    total = both.loss_by_feat(*outs, gts, [META] * 2)
    for name, factor in (
        ('det_loss', 2),
        ('off_loss', 2),
        ('pull_loss', 1),
        ('push_loss', 1),
    ):
        torch.testing.assert_close(total[name], factor * mean[name])


def test_offsets_of_objects_that_share_a_cell():
    """The mean of both, or the last one."""
    gt = gt_of([[9, 9, 40, 40], [10, 11, 60, 60]], [0, 1])
    outs = head_of()(maps(batch=1))
    for part in outs[4:]:
        part[0].data.zero_()

    def smooth(*values):
        return sum(v * v / 2 for v in values)

    first = smooth(0.25, 0.25), smooth(0.5, 0.75)  # of top-left corners
    losses = {
        options: head_of(object_offsets=options).loss_by_feat(
            *outs, [gt], [META]
        )['off_loss']
        for options in (False, True)
    }
    # bottom-right corners are at the corners of cells: zero
    assert losses[False].item() == pytest.approx(first[1] / 2)
    assert losses[True].item() == pytest.approx(sum(first) / 4, rel=1e-4)


def test_clamped_probabilities_have_no_gradient():
    head = head_of(clamp=0.2)
    outs = head(maps())
    heats = [[(10 * h[0]).detach().requires_grad_()] for h in outs[:2]]
    losses = head.loss_by_feat(*heats, *outs[2:], [objects(3)] * 2, [META] * 2)
    losses['det_loss'].backward()
    for (heat,) in heats:
        outside = (heat.sigmoid() - 0.5).abs() > 0.3
        assert outside.any() and not heat.grad[outside].any()
        assert heat.grad[~outside].all()


def test_saturated_logits_give_a_finite_loss():
    for clamp in (0.0, 1e-4):
        head = head_of(clamp=clamp)
        outs = [[1e4 * m[0]] for m in head(maps())]
        losses = head.loss_by_feat(*outs, [objects(3)] * 2, [META] * 2)
        assert all(loss.isfinite() for loss in losses.values())


def test_an_image_with_one_object_pushes_nothing():
    head = head_of()
    losses = head.loss_by_feat(*head(maps()), [objects(1)] * 2, [META] * 2)
    assert losses['push_loss'] == 0 and losses['pull_loss'] > 0


def test_batch_of_one_trains():
    """Losses of embeddings are sums over images; the official code fails."""
    head = head_of().eval()
    x = maps()[0]
    gts = [objects(3), objects(2, 1)]
    both = head.loss_by_feat(*head([x]), gts, [META] * 2)
    single = [
        head.loss_by_feat(*head([x[i : i + 1]]), [gts[i]], [META])
        for i in range(2)
    ]
    for name in ('pull_loss', 'push_loss'):
        expected = single[0][name] + single[1][name]
        torch.testing.assert_close(both[name], expected)


def test_a_thousand_objects():
    head = head_of()
    losses = head.loss_by_feat(*head(maps()), [objects(1000)] * 2, [META] * 2)
    assert all(value.isfinite() for value in losses.values())


def test_class_ids_beyond_the_classes():
    head = head_of()
    gt = gt_of([[8, 8, 30, 40]], [3])
    with pytest.raises(ValueError, match='labels must be from 0 to 2, got 3'):
        head.loss_by_feat(*head(maps(batch=1)), [gt], [META])


def test_only_the_last_stack_predicts():
    head = head_of(stacks=2)
    for branch in (head.tl_pool, head.br_heat, head.tl_emb, head.br_off):
        for parameter in branch[0].parameters():
            parameter.data.fill_(float('nan'))
    samples = demo_batch([BOXES, BOXES])['data_samples']
    for sample in samples:
        sample.set_metainfo(META)
    found = head.predict(maps(2), samples)
    assert all(len(one) and one.bboxes.isfinite().all() for one in found)


def test_more_maps_than_stacks():
    with pytest.raises(ValueError, match='takes num_feat_levels=1 maps of o'):
        head_of()(maps(2))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(gaussian_rule='offical'), 'gaussian_rule must be one of mmdet'),
        (dict(stacks=0), 'num_feat_levels must be at least 1, got 0'),
        (dict(clamp=0.5), 'clamp must be from 0 to below 0.5, got 0.5'),
        (dict(corner_emb_channels=2), 'corner_emb_channels must be 1, got 2'),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        head_of(**options)


def test_another_loss_of_embeddings():
    with pytest.raises(TypeError, match='loss_embedding must be a Associati'):
        head_of(loss_embedding=dict(type='L1Loss'))


OBJECTS = gt_of(
    [[8, 8, 31, 41], [60, 20, 90, 33], [95, 50, 117, 90]], [2, 0, 2]
)


def as_predictions(head, gt):
    """Targets as the predictions that they ask for."""
    outs = head(maps(batch=1))
    targets = head.targets_of(head.bind_inputs(*outs, [gt], [META]))
    heats = torch.logit(targets.heatmaps.clamp(1e-6, 0.99))
    offsets = torch.zeros(2, 2, 24 * 32)
    # what is no corner has no partner
    embeddings = torch.tensor([-99.0, 99.0])[:, None, None].repeat(1, 1, 768)
    for i in range(2):
        cells = targets.index[0, i]
        offsets[i][:, cells] = targets.offsets[0, i].T
        embeddings[i][:, cells] = torch.arange(len(cells)).float()
    parts = (
        heats[0],
        embeddings.view(2, 1, 24, 32),
        offsets.view(2, 2, 24, 32),
    )
    return [[part[i : i + 1]] for part in parts for i in range(2)]


def test_targets_as_predictions_give_the_boxes():
    """Decoded boxes are those of the objects, to the last digit."""
    for rule in ('mmdet', 'official'):
        head = head_of(gaussian_rule=rule)
        (found,) = head.predict_by_feat(*as_predictions(head, OBJECTS), [META])
        best = found[found.scores > 0.9]
        order = best.bboxes[:, 0].argsort()
        torch.testing.assert_close(best.bboxes[order], OBJECTS.bboxes)
        assert torch.equal(best.labels[order], OBJECTS.labels)


def test_without_a_test_cfg():
    head = head_of()
    outs = as_predictions(head, OBJECTS)
    (wanted,) = head.predict_by_feat(*outs, [META])
    head.test_cfg = None
    (found,) = head.predict_by_feat(*outs, [META])
    assert len(found) and found.scores[0] == wanted.scores[0]


def test_boxes_end_at_the_image():
    head = head_of(test_cfg=dict(clip_border=True))
    outs = as_predictions(head, OBJECTS)
    border = META | dict(border=[3, 80, 5, 110])
    (found,) = head.predict_by_feat(*outs, [border])
    best = found[found.scores > 0.9]
    low = best.bboxes[best.bboxes[:, 0].argsort()][-1]
    assert low.tolist() == [90, 47, 105, 77]


def test_predictions_of_a_pipeline_without_border():
    """As through mmdet's ``init_detector``; with one they are moved."""
    head = head_of()
    outs = as_predictions(head, OBJECTS)
    (plain,) = head.predict_by_feat(*outs, [META])
    border = META | dict(border=[3, 96, 5, 128], scale_factor=(0.5, 0.25))
    (moved,) = head.predict_by_feat(*outs, [border])
    top = plain.scores > 0.9
    shift = torch.tensor([5.0, 3, 5, 3])
    torch.testing.assert_close(
        moved.bboxes[moved.scores > 0.9] + shift, plain.bboxes[top]
    )


class Detector(torch.nn.Module):
    """Maps of an image, and of its mirror image, are given."""

    def __init__(self, plain, mirrored):
        super().__init__()
        self.bbox_head = head_of()
        both = zip(plain, mirrored, strict=True)
        joined = [[torch.cat((one, other))] for (one,), (other,) in both]
        self.bbox_head.forward = lambda x: plain if len(x[0]) == 1 else joined

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


def detect(flip, scales=1):
    """Detections of the objects and of their mirror images."""
    head = head_of()
    mirrored = gt_of([], [])
    x1, y1, x2, y2 = OBJECTS.bboxes.unbind(1)
    mirrored.bboxes = torch.stack((128 - x2, y1, 128 - x1, y2), 1)
    mirrored.labels = OBJECTS.labels
    model = Detector(*(as_predictions(head, gt) for gt in (OBJECTS, mirrored)))
    sample = demo_batch([BOXES])['data_samples'][0].new()
    sample.set_metainfo(META | dict(scale_factor=(1.0, 1.0)))
    data = dict(
        inputs=[[torch.zeros(3, *SIZE)]] * scales,
        data_samples=[[sample.clone()] for _ in range(scales)],
    )
    (sample,) = CornerPairTTA(module=model, flip=flip).test_step(data)
    return sample.pred_instances


def test_flip_test_merges_before_the_nms():
    """The mirror image gives the same boxes; soft-NMS lowers the second.

    A second NMS, as in mmdet's test, would lower the first ones too.
    """
    plain, both = detect(flip=False), detect(flip=True)
    for found in (plain, both):
        best = found[found.scores > 0.98]
        order = best.bboxes[:, 0].argsort()
        torch.testing.assert_close(best.bboxes[order], OBJECTS.bboxes)
    second = 0.99 * math.exp(-1 / 0.5)  # IoU 1, sigma 0.5
    assert ((both.scores - second).abs() < 1e-3).sum() == 3
    assert (both.scores.diff() <= 0).all()
    scales = detect(flip=False, scales=2)
    assert ((scales.scores - second).abs() < 1e-3).sum() == 3


def test_boxes_are_averaged_with_those_that_they_suppress():
    """Two boxes of 10 x 10 pixels, one a pixel to the right, and a far one."""
    head = head_of(
        test_cfg=dict(
            merge_exponent=2,
            nms=dict(type='soft_nms', method='gaussian', sigma=0.5),
        )
    )
    found = InstanceData(
        bboxes=torch.tensor(
            [[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]]
        ),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.tensor([1, 1, 1]),
        corner_scores=torch.tensor([[1.0, 0.8], [0.6, 1.0], [0.7, 0.7]]),
    )
    merged = head.finish(found, META)
    factor = math.exp(-2 * (90 / 110) ** 2)
    share = (1 - factor) ** 2
    left = 0.6 * share / (1 + 0.6 * share)
    right = (0.8 * 10 + share * 11) / (0.8 + share)
    torch.testing.assert_close(
        merged.bboxes,
        torch.tensor([[left, 0, right, 10], [50, 50, 60, 60], [1, 0, 11, 10]]),
    )
    torch.testing.assert_close(
        merged.scores, torch.tensor([0.9, 0.7, 0.8 * factor])
    )
    assert 'corner_scores' not in merged


def test_averages_need_a_gaussian():
    nms = dict(type='nms', iou_threshold=0.5)
    head = head_of(test_cfg=dict(merge_exponent=10, nms=nms))
    with pytest.raises(ValueError, match='merge_exponent needs nms=dict'):
        head.predict_by_feat(*head(maps()), batch_img_metas=[META] * 2)


def test_accumulated_gradients():
    """Two batches of one give the mean of their gradients in one step."""
    x, gts = maps()[0], [objects(3), objects(2, 1)]

    def loss_of(head, i):
        outs = head([x[i : i + 1]])
        return sum(head.loss_by_feat(*outs, [gts[i]], [META]).values())

    head = head_of().eval()
    wanted = sum(loss_of(head, i) for i in range(2)) / 2
    grads = torch.autograd.grad(wanted, head.parameters())
    before = [p.detach().clone() for p in head.parameters()]
    wrapper = OptimWrapper(
        torch.optim.SGD(head.parameters(), lr=0.1), accumulative_counts=2
    )
    wrapper.initialize_count_status(head, 0, 2)
    for i in range(2):
        wrapper.update_params(loss_of(head, i))
    for parameter, start, grad in zip(
        head.parameters(), before, grads, strict=True
    ):
        torch.testing.assert_close(
            parameter, start - 0.1 * grad, rtol=1e-3, atol=1e-4
        )
