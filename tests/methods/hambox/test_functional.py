"""Hand-made cases and invariants of HAMBox's functions and assigner."""

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmengine.structures import InstanceData

from mmdet_assigners.methods.hambox import functional as hambox
from mmdet_assigners.methods.hambox.assigner import HAMBoxAssigner
from mmdet_assigners.models.task_modules.assigners._base import AssignInputs
from mmdet_assigners.ops.anchor_match import IGNORED, NEGATIVE, pairwise_iou
from mmdet_assigners.ops.anchor_points import pad_gts


def row(*widths):
    """Boxes of height 10 from the origin: the IoU with width 100 is w%."""
    return torch.tensor([[[0.0, 0, w, 10] for w in widths]])


GT = row(100)
ONE = torch.ones(1, 1, dtype=torch.bool)


def found(matched, preds, topk, thr=0.5, boxes=GT, **kwargs):
    mask = torch.ones(boxes.shape[:2], dtype=torch.bool)
    return hambox.compensate(
        torch.tensor([matched]), preds, boxes, mask, thr, topk, **kwargs
    )


def test_matched_counts():
    gt = torch.tensor([[0, 2, 2, NEGATIVE, IGNORED], [NEGATIVE] * 5])
    counts = hambox.matched_counts(gt, 3)
    assert counts.tolist() == [[1, 0, 2], [0, 0, 0]]


def test_takes_what_is_missing_of_the_best():
    """K = 3, one match: two of the unmatched, by IoU, at least 0.5."""
    preds = row(60, 90, 40, 95, 70, 99)
    result = found([-1, -1, -1, 0, IGNORED, -1], preds, topk=3)
    assert result.gt.tolist() == [[-1, 0, -1, -1, -1, 0]]
    torch.testing.assert_close(
        result.iou, torch.tensor([[0, 0.9, 0, 0, 0, 0.99]])
    )
    torch.testing.assert_close(
        result.best_iou, torch.tensor([[0.6, 0.9, 0.4, 0.95, 0.7, 0.99]])
    )
    assert result.best_gt.tolist() == [[0] * 6]


def test_an_anchor_between_the_thresholds_is_eligible():
    result = found([IGNORED, -1], row(80, 70), topk=1)
    assert result.gt.tolist() == [[0, -1]]


@pytest.mark.parametrize(
    ('topk', 'expected'), [(0, 0), (1, 0), (2, 1), (3, 2), (9, 3)]
)
def test_number_of_compensated_anchors(topk, expected):
    """One match; three others regress to 0.5 or more, 0.5 included."""
    preds = row(99, 90, 50, 80, 49, 10)
    result = found([0, -1, -1, -1, -1, -1], preds, topk)
    assert int((result.gt >= 0).sum()) == expected


def test_of_equal_ious_the_first():
    preds = row(70, 80, 70, 70, 70)
    result = found([-1] * 5, preds, topk=3)
    assert result.gt.tolist() == [[0, 0, 0, -1, -1]]


def test_a_conflict_goes_to_the_larger_iou_without_refill():
    """Both want anchor 0; the loser could have had anchor 1, but may not."""
    boxes = torch.tensor([[[0.0, 0, 100, 10], [0, 0, 80, 10]]])
    preds = row(82, 60)
    result = found([-1, -1], preds, topk=1, boxes=boxes)
    assert result.gt.tolist() == [[1, -1]]
    assert result.iou[0, 0].item() == pytest.approx(80 / 82)
    assert result.best_gt.tolist() == [[1, 1]]
    swapped = found([-1, -1], preds, topk=1, boxes=boxes.flip(1))
    assert swapped.gt.tolist() == [[0, -1]]
    chunked = found([-1, -1], preds, topk=1, boxes=boxes, max_elements=1)
    for one, two in zip(result, chunked, strict=True):
        assert torch.equal(one, two)


def test_nothing_to_take():
    empty = torch.zeros(1, 1, dtype=torch.bool)
    result = hambox.compensate(
        torch.full((1, 2), -1), row(90, 80), GT, empty, 0.5, 3
    )
    assert result.gt.tolist() == [[-1, -1]]
    assert result.best_iou.tolist() == [[0, 0]]
    invalid = torch.tensor([[False, True]])
    result = found([-1, -1], row(90, 80), 1, valid=invalid)
    assert result.gt.tolist() == [[-1, 0]]


def test_wild_predictions_are_no_candidates():
    nan, inf = float('nan'), float('inf')
    preds = row(90, 80, 70, 60)
    preds[0, 0, 2] = nan
    preds[0, 1] = torch.tensor([-inf, -inf, inf, inf])
    preds[0, 2] = torch.tensor([5.0, 5.0, 2.0, 2.0])
    result = found([-1] * 4, preds, topk=4)
    assert result.gt.tolist() == [[-1, -1, -1, 0]]
    assert result.best_iou.isfinite().all()


def naive(matched, preds, boxes, thr, topk):
    """Loops, from the words of the method."""
    iou = pairwise_iou(boxes[None], preds[None])[0]
    gt, score = [-1] * len(preds), [0.0] * len(preds)
    for j in range(len(boxes)):
        missing = topk - sum(m == j for m in matched)
        free = [i for i in range(len(preds)) if matched[i] < 0]
        free.sort(key=lambda i, j=j: (-iou[j, i].item(), i))
        for i in free[: max(0, missing)]:
            value = iou[j, i].item()
            if value >= thr and value > score[i]:
                gt[i], score[i] = j, value
    return gt, score


@pytest.mark.parametrize('topk', [1, 4, 50])
@pytest.mark.parametrize('elements', [10, 2**22])
def test_equals_loops_in_a_crowd(topk, elements):
    torch.manual_seed(topk)
    images = []
    for count in (40, 0, 7):
        corner = torch.rand(count, 2) * 20
        images.append(torch.cat((corner, corner + 20), 1).double())
    labels = [torch.zeros(len(b), dtype=torch.long) for b in images]
    boxes, _, mask = pad_gts(images, labels)
    corner = torch.rand(3, 60, 2).double() * 20
    preds = torch.cat((corner, corner + 18), -1)
    preds = (preds * 2).round() / 2  # ties
    matched = torch.randint(-2, 7, (3, 60))
    matched = matched.where(torch.rand(3, 60) < 0.3, NEGATIVE)
    matched[1] = NEGATIVE
    result = hambox.compensate(
        matched, preds, boxes, mask, 0.6, topk, max_elements=elements
    )
    taken = 0
    for b, image in enumerate(images):
        gt, score = naive(matched[b].tolist(), preds[b], image, 0.6, topk)
        assert result.gt[b].tolist() == gt
        torch.testing.assert_close(
            result.iou[b], torch.tensor(score, dtype=torch.float64)
        )
        taken += sum(j >= 0 for j in gt)
    assert taken > 20


def test_invariants_of_the_sets():
    """At most max(K, M_j); compensated: unmatched before, F >= T."""
    torch.manual_seed(0)
    corner = torch.rand(1, 200, 2) * 60
    preds = torch.cat((corner, corner + 20), -1)
    boxes = torch.tensor([[[10.0, 10, 30, 30], [12, 12, 34, 30]]])
    matched = torch.where(torch.rand(1, 200) < 0.05, 0, NEGATIVE)
    mask = torch.ones(1, 2, dtype=torch.bool)
    result = hambox.compensate(matched, preds, boxes, mask, 0.5, 6)
    compensated = result.gt >= 0
    assert compensated.any()
    assert (matched[compensated] < 0).all()
    assert (result.iou[compensated] >= 0.5).all()
    total = hambox.matched_counts(matched, 2)
    total += hambox.matched_counts(result.gt, 2)
    first = hambox.matched_counts(matched, 2)
    assert (total <= first.clamp(min=6)).all()


def test_ignored_negatives():
    preds = row(60, 60, 49, 90, 50)
    matched = [-1, IGNORED, -1, 0, -1]
    result = found(matched, preds, topk=2, thr=0.6)
    assert result.gt.tolist() == [[0, -1, -1, -1, -1]]
    matched = torch.tensor([matched])
    ignored = hambox.ignored_negatives(matched, result, 0.5)
    assert ignored.tolist() == [[False, False, False, False, True]]
    assert not hambox.ignored_negatives(matched, result, 1.1).any()


def test_loss_terms_by_hand():
    cls = torch.tensor([[[1.0, 2], [3, 4], [5, 6], [7, 8]]])
    box = torch.tensor([[10.0, 20, 30, 40]])
    gt = torch.tensor([[0, 1, NEGATIVE, IGNORED]])
    comp = torch.tensor([[False, True, False, False]])
    f = torch.tensor([[0.9, 0.5, 0.9, 0.9]])
    terms = hambox.loss_terms(cls, box, gt, comp, f)
    assert [t.item() for t in terms] == [3 + 11, 3.5, 10, 20]
    weight = torch.tensor([[[1.0, 1], [0, 0], [0, 1], [1, 1]]])
    terms = hambox.loss_terms(cls, box, gt, comp, f, weight)
    assert [t.item() for t in terms] == [3 + 6, 3.5, 10, 20]


def assigner(**kwargs):
    options = dict(pos_iou_thr=0.5, neg_iou_thr=0.4, **kwargs)
    return HAMBoxAssigner(**options)


def test_assign_of_one_image_equals_mmdet_in_the_first_step():
    torch.manual_seed(0)
    corner = torch.rand(100, 2) * 60
    priors = torch.cat((corner, corner + 20), 1)
    gts = InstanceData(
        bboxes=torch.tensor([[10.0, 10, 30, 30], [40, 40, 70, 70]]),
        labels=torch.tensor([3, 1]),
    )
    preds = InstanceData(priors=priors, bboxes=priors + 1)
    ours = assigner(match_low_quality=True, topk=5, online_iou_thr=0.3)
    result = ours.assign(preds, gts)
    theirs = MaxIoUAssigner(0.5, 0.4).assign(preds, gts)
    assert torch.equal(result.gt_inds, theirs.gt_inds)
    assert torch.equal(result.labels, theirs.labels)
    extra = result._extra_properties
    assert set(extra) == {
        'comp_gt',
        'comp_iou',
        'best_pred_iou',
        'best_pred_gt',
        'ignored',
    }
    assert (extra['comp_gt'] >= 0).any()


def test_predictions_carry_no_gradient():
    preds = row(90, 80).requires_grad_()
    inputs = AssignInputs(
        row(30, 20)[0], GT, torch.zeros(1, 1).long(), ONE, pred_boxes=preds
    )
    result = assigner(topk=1).assign_batch(inputs)
    assert result.extra['comp_gt'].tolist() == [[0, -1]]
    assert not result.extra['comp_iou'].requires_grad
    with pytest.raises(ValueError, match='HAMBoxAssigner needs the predicted'):
        assigner().assign_batch(
            AssignInputs(row(1)[0], GT, torch.zeros(1, 1).long(), ONE)
        )


def test_compensation_grows_with_the_regression_and_saturates():
    """Boxes move from the anchors to the objects, as in training."""
    torch.manual_seed(0)
    corner = torch.rand(300, 2) * 80
    anchors = torch.cat((corner, corner + 16), 1)
    corner = torch.rand(1, 6, 2) * 60
    boxes = torch.cat((corner, corner + 24), -1)
    target = boxes[0, pairwise_iou(boxes, anchors)[0].argmax(0)]
    labels = torch.zeros(1, 6).long()
    counts = []
    for step in torch.linspace(0, 1, 6):
        preds = torch.lerp(anchors, target, step)[None]
        inputs = AssignInputs(
            anchors, boxes, labels, labels == 0, pred_boxes=preds
        )
        result = assigner(topk=9, online_iou_thr=0.6).assign_batch(inputs)
        counts.append(int((result.extra['comp_gt'] >= 0).sum()))
    matched = hambox.matched_counts(result.gt, 6)
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] == int((9 - matched).clamp(min=0).sum()) > 10


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(pos_iou_thr=0.0), r'pos_iou_thr must be in \(0, 1\], got 0.0'),
        (dict(neg_iou_thr=0.6), 'neg_iou_thr and pos_iou_thr .* got 0.6 and'),
        (dict(online_iou_thr=1.5), 'online_iou_thr must be .* got 1.5'),
        (dict(topk=-1), 'topk must be at least 0, got -1'),
        (dict(ignore_pred_iou=0), 'ignore_pred_iou must be positive, got 0'),
        (dict(max_elements=0), 'max_elements must be at least 1, got 0'),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        HAMBoxAssigner(**{'pos_iou_thr': 0.5, 'neg_iou_thr': 0.4, **options})
