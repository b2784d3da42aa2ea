"""Hand-made cases and invariants of the SAPD functions."""

import math

import pytest
import torch

from mmdet_assigners.methods.sapd import functional as sapd
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

STRIDES = (8, 16, 32)
SHAPES = ((8, 8), (4, 4), (2, 2))
POINTS = anchor_points(SHAPES, STRIDES)  # 64 + 16 + 4 points of 64 x 64 px
BIG = [0, 0, 64, 64]  # its valid box holds four points, all of level 0


def targets(boxes, weights, selected=None, eps=0.2, cells=False, **kwargs):
    boxes = torch.tensor([boxes], dtype=torch.float32)
    weights = torch.tensor([weights], dtype=torch.float32)
    if selected is None:
        selected = torch.ones_like(weights, dtype=torch.bool)
    return sapd.soft_targets(
        POINTS,
        boxes,
        torch.arange(boxes.shape[1])[None],
        torch.ones(boxes.shape[:2], dtype=torch.bool),
        sapd.valid_regions(boxes, POINTS, eps, cells),
        weights,
        selected,
        **kwargs,
    )


def index(level, row, column):
    start = sum(h * w for h, w in SHAPES[:level])
    return start + row * SHAPES[level][1] + column


def test_shrunk_cells_by_hand():
    boxes = torch.tensor([[BIG, [1, 1, 3, 3], [80, 80, 90, 90]]]).float()
    cells = sapd.shrunk_cells(boxes, POINTS, 0.2)[0].tolist()
    # valid boxes 25.6..38.4, 1.8..2.2 and 84..86
    assert cells[0] == [[3, 3, 5, 5], [1, 1, 3, 3], [0, 0, 2, 2]]
    assert cells[1] == [[0, 0, 1, 1]] * 3
    assert cells[2] == [[7, 7, 8, 8], [3, 3, 4, 4], [1, 1, 2, 2]]


def test_valid_region_of_the_paper_is_strict():
    boxes = torch.tensor([[[0.0, 0, 40, 40], [0, 0, 0, 0]]])
    regions = sapd.valid_regions(boxes, POINTS, 0.2)
    # 16..24 px: (20, 20) of level 0; (16, 16) of level 2 is on the border
    assert regions.flatten(0, 2)[0].tolist() == [16, 16, 24, 24]
    found = targets([[0, 0, 40, 40], [0, 0, 0, 0]], [[1, 1, 1]] * 2)
    assert found.positive[0].nonzero().flatten().tolist() == [index(0, 2, 2)]


def test_soft_targets_by_hand():
    """Point (28, 28) of level 0 in the big box: l = t = 28, r = b = 36."""
    found = targets([BIG], [[0.5, 0.3, 0.2]])
    where = found.positive[0].nonzero().flatten().tolist()
    assert where == [index(0, y, x) for y in (3, 4) for x in (3, 4)]
    first = index(0, 3, 3)
    ratio = (28 / 36) ** 2
    assert found.weight[0, first].item() == pytest.approx(0.5 * ratio)
    assert found.centerness[0, first].item() == pytest.approx(ratio)
    expected = [28 / 32, 28 / 32, 36 / 32, 36 / 32]
    assert found.distances[0, first].tolist() == pytest.approx(expected)
    assert (found.weight[0] == 1).sum() == 84 - 4
    assert found.distances[0].count_nonzero() == 16
    found = targets([BIG], [[0.5, 0.3, 0.2]], eta=2.0, z=1.0)
    assert found.weight[0, first].item() == pytest.approx(0.5 * ratio**2)
    assert found.distances[0, first, 0].item() == pytest.approx(28 / 8)


SMALL_IN_BIG = [BIG, [20, 20, 40, 40]]


def test_unselected_rules():
    """The small box is selected on level 1 only, the big one on level 0."""
    weights = [[0.6, 0.1, 0.3], [0.1, 0.7, 0.2]]
    selected = torch.tensor([[[True, False, False], [False, True, False]]])
    eps = 0.7  # valid boxes 9.6..54.4 and 23..37
    level0, level1 = index(0, 3, 3), index(1, 1, 1)  # (28, 28) and (24, 24)
    border = index(0, 1, 1)  # (12, 12): the big box alone
    elsewhere = index(2, 0, 0)  # (16, 16) of level 2: only the big box
    outside = index(0, 0, 0)

    found = targets(SMALL_IN_BIG, weights, selected, eps)
    assert found.assigned[0, level0] == 0  # the small one isn't selected
    assert found.assigned[0, level1] == 1
    assert found.assigned[0, border] == 0
    assert found.assigned[0, elsewhere] == -1
    assert found.weight[0, elsewhere] == 1

    ignore = targets(SMALL_IN_BIG, weights, selected, eps, unselected='ignore')
    assert torch.equal(ignore.assigned, found.assigned)
    assert ignore.weight[0, elsewhere] == 0
    assert ignore.weight[0, outside] == 1
    same = found.positive[0]
    assert torch.equal(ignore.weight[0, same], found.weight[0, same])

    hide = targets(SMALL_IN_BIG, weights, selected, eps, unselected='hide')
    assert hide.assigned[0, level0] == 1  # the smaller one hides the bigger
    assert hide.weight[0, level0] == 0
    assert hide.assigned[0, elsewhere] == 0
    assert hide.weight[0, elsewhere] == 0
    assert hide.weight[0, border] > 0
    assert hide.weight[0, outside] == 1


def test_tiny_box_gets_a_cell_on_every_level_if_asked():
    tiny = [[33, 33, 34, 34]]
    lost = targets(tiny, [[1, 1, 1]])
    assert not lost.positive.any()
    kept = targets(tiny, [[1, 1, 1]], cells=True)
    where = kept.positive[0].nonzero().flatten().tolist()
    assert where == [index(0, 4, 4), index(1, 2, 2), index(2, 1, 1)]
    # all cell centers are outside of the box: no weight, finite targets
    assert kept.weight[0, where].tolist() == [0, 0, 0]
    assert (kept.distances >= 0).all() and kept.distances.isfinite().all()


def test_boxes_outside_and_without_area():
    boxes = [[-90, -90, -70, -70], [100, 100, 130, 130], [30, 30, 30, 50]]
    found = targets(boxes, [[1, 1, 1]] * 3)
    assert not found.positive.any()
    assert (found.weight == 1).all()


def test_top_levels_prefers_finer_levels_among_equals():
    weights = torch.tensor([[[0.2, 0.5, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]]])
    assert sapd.top_levels(weights, 2)[0].tolist() == [
        [True, True, False, False],
        [True, True, False, False],
    ]
    assert sapd.top_levels(weights, 9).all()


@pytest.mark.parametrize('positive', [True, False])
def test_focal_terms(positive):
    """Literal values: p = 0.8, alpha 0.25, gamma 2."""
    logit = torch.tensor(math.log(4.0), dtype=torch.float64)
    expected = (
        -0.25 * 0.2**2 * math.log(0.8)
        if positive
        else -0.75 * 0.8**2 * math.log(0.2)
    )
    found = sapd.focal_terms(logit, positive)
    assert found.item() == pytest.approx(expected)
    prob = torch.tensor(0.8, dtype=torch.float64)
    assert sapd.focal_terms(prob, positive, activated=True).item() == (
        pytest.approx(expected, rel=1e-5)
    )
    extreme = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = sapd.focal_terms(extreme, positive)
    loss.sum().backward()
    assert loss.isfinite().all() and extreme.grad.isfinite().all()


def predictions(batch=1, classes=3, dtype=torch.float32):
    torch.manual_seed(0)
    total = len(POINTS.xy)
    cls = torch.randn(batch, total, classes, dtype=dtype)
    reg = torch.rand(batch, total, 4, dtype=dtype) + 0.1
    return cls, reg


def naive_level_losses(boxes, labels, cls, reg, eps, z=4.0):
    """Loops over ground truths, levels and points, in scalars."""
    table = []
    for box, label in zip(boxes, labels, strict=True):
        row = []
        x1, y1, x2, y2 = box
        for level in range(len(STRIDES)):
            losses = []
            for p, (x, y) in enumerate(POINTS.xy.tolist()):
                if POINTS.level[p] != level:
                    continue
                near_x = abs(x - (x1 + x2) / 2) < eps * (x2 - x1) / 2
                if not (
                    near_x and abs(y - (y1 + y2) / 2) < eps * (y2 - y1) / 2
                ):
                    continue
                loss = 0
                for k, logit in enumerate(cls[p].tolist()):
                    prob = 1 / (1 + math.exp(-logit))
                    pt = prob if k == label else 1 - prob
                    alpha = 0.25 if k == label else 0.75
                    loss -= alpha * (1 - pt) ** 2 * math.log(pt)
                unit = z * STRIDES[level]
                a = [(x - x1), (y - y1), (x2 - x), (y2 - y)]
                a = [value / unit for value in a]
                b = reg[p].tolist()
                inter = min(a[0], b[0]) + min(a[2], b[2])
                inter *= min(a[1], b[1]) + min(a[3], b[3])
                union = (a[0] + a[2]) * (a[1] + a[3]) - inter
                union += (b[0] + b[2]) * (b[1] + b[3])
                losses.append(loss - math.log(inter / union))
            row.append(sum(losses) / len(losses) if losses else 1e7)
        table.append(row)
    return torch.tensor(table)


def test_level_losses_equal_loops():
    cls, reg = predictions()
    boxes = [BIG, [20, 20, 40, 40], [33, 33, 34, 34], [3, 30, 60, 44]]
    labels = [0, 2, 1, 2]
    tensor = torch.tensor([boxes], dtype=torch.float32)
    args = (POINTS, tensor, torch.tensor([labels]))
    regions = sapd.valid_regions(tensor, POINTS, 0.5)
    expected = naive_level_losses(boxes, labels, cls[0], reg[0], 0.5)
    found = sapd.level_losses(*args, regions, cls, reg)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)
    assert (found[0, 2] == 1e7).all()  # the one-pixel box has no point
    chunked = sapd.level_losses(*args, regions, cls, reg, max_elements=1)
    torch.testing.assert_close(chunked, found)
    assert not found.requires_grad


def test_batch_equals_single_images():
    cls, reg = predictions(batch=3)
    images = [[BIG, [20, 20, 40, 40]], [], [[3, 30, 60, 44]]]
    images = [torch.tensor(b).float().reshape(-1, 4) for b in images]
    labels = [torch.arange(len(b)) for b in images]

    def run(part):
        boxes, label, valid = pad_gts(images[part], labels[part])
        regions = sapd.valid_regions(boxes, POINTS, 0.5)
        losses = sapd.level_losses(
            POINTS, boxes, label, regions, cls[part], reg[part]
        )
        weights = (-losses.clamp(max=50)).softmax(-1)
        found = sapd.soft_targets(
            POINTS,
            boxes,
            label,
            valid,
            regions,
            weights,
            sapd.top_levels(weights, 2),
        )
        return found, sapd.weighted_losses(cls[part], reg[part], found)

    batched, sums = run(slice(0, 3))
    singles = [run(slice(i, i + 1)) for i in range(3)]
    for field, value in batched._asdict().items():
        parts = [getattr(single, field) for single, _ in singles]
        torch.testing.assert_close(value, torch.cat(parts), msg=field)
    for name, value in enumerate(sums):
        total = sum(part[name] for _, part in singles)
        torch.testing.assert_close(value, total)
    assert singles[1][1][1:] == (0, 0)  # the empty image


def test_order_of_ground_truths_does_not_matter():
    boxes = [BIG, [20, 20, 40, 40], [3, 30, 60, 44]]
    weights = torch.rand(3, 3).tolist()
    perm = [2, 0, 1]
    one = targets(boxes, weights, eps=0.6)
    two = targets(
        [boxes[i] for i in perm], [weights[i] for i in perm], eps=0.6
    )
    torch.testing.assert_close(one.weight, two.weight)
    torch.testing.assert_close(one.distances, two.distances)
    back = torch.tensor([*perm, -1])
    assert torch.equal(back[two.assigned], one.assigned)


def test_box_loss_does_not_see_a_common_factor():
    cls, reg = predictions()
    found = targets([BIG], [[2.0, 2.0, 2.0]], eps=0.7)
    twice = found._replace(
        weight=found.weight.where(~found.positive, 2 * found.weight)
    )
    _, box, norm = sapd.weighted_losses(cls, reg, found)
    _, box2, norm2 = sapd.weighted_losses(cls, reg, twice)
    assert norm > 1
    torch.testing.assert_close(box / norm, box2 / norm2)


def test_plain_detector_is_the_special_case():
    """eta 0 and a one-hot level: unweighted focal and IoU losses."""
    cls, reg = predictions(dtype=torch.float64)
    selected = torch.tensor([[[True, False, False]]])
    found = targets([BIG], [[1.0, 0, 0]], selected, eps=0.7, eta=0.0)
    assert (found.weight == 1).all()
    positive = found.positive[0]
    assert (POINTS.level[positive] == 0).all() and positive.sum() == 36
    loss_cls, loss_box, norm = sapd.weighted_losses(cls, reg, found)
    assert norm == 36
    one_hot = torch.zeros_like(cls[0])
    one_hot[positive, 0] = 1
    prob = cls[0].sigmoid()
    pt = torch.where(one_hot == 1, prob, 1 - prob)
    alpha = torch.where(one_hot == 1, 0.25, 0.75)
    focal = -(alpha * (1 - pt) ** 2 * pt.log()).sum()
    torch.testing.assert_close(loss_cls, focal)
    # boxes in pixels
    xy = POINTS.xy[positive].double()
    scaled = reg[0, positive] * 32
    low, high = xy - scaled[:, :2], xy + scaled[:, 2:]
    inter = (high.clamp(max=64) - low.clamp(min=0)).prod(1)
    union = (high - low).prod(1) + 64 * 64 - inter
    torch.testing.assert_close(
        loss_box, -(inter / union).log().sum(), rtol=1e-6, atol=1e-6
    )


def test_gradient_reaches_level_weights():
    cls, reg = predictions(dtype=torch.float64)
    boxes = torch.tensor([SMALL_IN_BIG], dtype=torch.float64)
    points = anchor_points(SHAPES, STRIDES, dtype=torch.float64)
    regions = sapd.valid_regions(boxes, points, 0.7)
    valid = torch.ones(1, 2, dtype=torch.bool)
    labels = torch.tensor([[0, 1]])
    keep = torch.tensor([[[True, True, False], [True, False, True]]])

    def loss(weights, cls, reg):
        found = sapd.soft_targets(
            points, boxes, labels, valid, regions, weights, keep
        )
        a, b, norm = sapd.weighted_losses(cls, reg, found)
        return (a + b) / norm.clamp(min=1)

    weights = torch.rand(1, 2, 3, dtype=torch.float64) + 0.5
    inputs = (weights, cls, reg)
    for value in inputs:
        value.requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)
    loss(*inputs).backward()
    assert (weights.grad[~keep] == 0).all()
