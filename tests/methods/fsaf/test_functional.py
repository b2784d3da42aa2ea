"""Hand-made cases and invariants of the FSAF functions."""

import math

import pytest
import torch

from mmdet_assigners.methods.fsaf import functional as fsaf
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

STRIDES = (8, 16, 32)
SHAPES = ((8, 8), (4, 4), (2, 2))
POINTS = anchor_points(SHAPES, STRIDES, offset=0)  # 64 x 64 px
BIG, SMALL = [4, 4, 44, 44], [18, 18, 34, 34]


def index(level, row, column):
    start = sum(h * w for h, w in SHAPES[:level])
    return start + row * SHAPES[level][1] + column


def predictions(batch=1, classes=3):
    torch.manual_seed(0)
    total = len(POINTS.xy)
    return torch.randn(batch, total, classes), torch.rand(batch, total, 4)


def run(boxes, labels, preds=None, max_elements=2**22, **rules):
    boxes, labels, mask = pad_gts(
        [torch.tensor(b, dtype=torch.float32).view(-1, 4) for b in boxes],
        [torch.tensor(x, dtype=torch.long) for x in labels],
    )
    preds = preds or predictions(len(boxes))
    return fsaf.fsaf_targets(
        POINTS,
        boxes,
        labels,
        mask,
        *preds,
        fsaf.FSAFRules(**rules),
        max_elements=max_elements,
    )


def where(flags):
    return flags.nonzero().flatten().tolist()


def on_level(level, flags):
    start = index(level, 0, 0)
    height, width = SHAPES[level]
    return flags[start : start + height * width].view(height, width).tolist()


def test_regions_by_hand():
    """Effective box 20..28: cells of stride 8 around 16, 24, 32 reach it."""
    boxes = torch.tensor([[BIG]], dtype=torch.float32)
    cell = fsaf.FSAFRules()
    core = fsaf.effective_points(POINTS, boxes, cell)(slice(None))[0, 0]
    # a cell of stride 8 around 24 covers it; those around 16 and 32 end at
    # its border
    assert on_level(0, core) == [
        [row == column == 3 for column in range(8)] for row in range(8)
    ]
    # stride 16: cells around 16 reach to 24, around 32 from 24
    assert where(core)[1:5] == [index(1, y, x) for y in (1, 2) for x in (1, 2)]
    # stride 32: the cell around 0 ends at 16, the one around 32 begins there
    assert where(core)[5:] == [index(2, 1, 1)]
    ignore = fsaf.ignoring_points(POINTS, boxes, cell)(slice(None))[0, 0]
    # ignoring box 14..34: cells of stride 8 around 16, 24 and 32
    assert where(ignore)[:9] == [
        index(0, y, x) for y in (2, 3, 4) for x in (2, 3, 4)
    ]
    point = fsaf.FSAFRules(region_rule='point')
    core = fsaf.effective_points(POINTS, boxes, point)(slice(None))[0, 0]
    assert where(core) == [index(0, 3, 3)]  # (24, 24) alone lies in 20..28


def test_a_cell_whose_center_lies_outside_the_box_is_not_positive():
    """Box 9..15 between the points 8 and 16: its core is in both cells."""
    boxes = torch.tensor([[[9.0, 9, 15, 15]]])
    rules = fsaf.FSAFRules()
    core = fsaf.effective_points(POINTS, boxes, rules)(slice(None))
    assert not core.any()
    ignore = fsaf.ignoring_points(POINTS, boxes, rules)(slice(None))[0, 0]
    assert where(ignore)[:4] == [
        index(0, y, x) for y in (1, 2) for x in (1, 2)
    ]


def test_ignoring_boxes_on_own_and_adjacent_levels():
    """Heuristic level 0 of a small box: level 1 ignored, level 2 not."""
    options = dict(level_select='heuristic')
    found = run([[BIG]], [[2]], **options)
    assert found.level.tolist() == [[0]]
    assert where(found.positive[0]) == [index(0, 3, 3)]
    weight = found.cls_weight[0]
    assert (weight[:, :2] == 1).all()  # other classes are negatives
    ring = [index(0, y, x) for y in (2, 3, 4) for x in (2, 3, 4)]
    ring.remove(index(0, 3, 3))
    level1 = [index(1, y, x) for y in (1, 2) for x in (1, 2)]
    assert where(weight[:, 2] == 0) == ring + level1
    found = run([[BIG]], [[2]], ignore_adjacent_levels=False, **options)
    assert where(found.cls_weight[0, :, 2] == 0) == ring
    found = run([[BIG]], [[2]], unselected='ignore', **options)
    # a strip of 2 px of the cells beside it, but 2 x 2 px of that at 0, 0
    level2 = [index(2, y, x) for y, x in ((0, 1), (1, 0), (1, 1))]
    assert where(found.cls_weight[0, :, 2] == 0) == ring + level1 + level2


def test_positive_of_one_is_not_ignored_because_of_another():
    """Same class: the point (24, 24) lies in both boxes' cores."""
    options = dict(level_select='heuristic')
    found = run([[BIG, SMALL]], [[1, 1]], **options)
    point = index(0, 3, 3)
    assert found.assigned[0, point] == 1  # the smaller one
    assert found.cls_weight[0, point].tolist() == [1, 1, 1]
    found = run([[BIG, SMALL]], [[0, 1]], **options)
    # what the big one lost is ignored for its class
    assert found.cls_weight[0, point].tolist() == [0, 1, 1]
    assert found.labels[0, point] == 1


def test_distances_by_hand():
    found = run([[[4, 8, 44, 40]]], [[0]], level_select='heuristic')
    point = index(0, 3, 3)  # (24, 24)
    expected = [20 / 32, 16 / 32, 20 / 32, 16 / 32]
    assert found.distances[0, point].tolist() == pytest.approx(expected)
    assert found.distances[0].count_nonzero() == 4


def test_heuristic_levels():
    sides = [0, 30, 63.9, 64, 111, 112, 223, 224, 447, 448, 5000]
    boxes = torch.tensor([[0, 0, side, side] for side in sides])
    strides = torch.tensor([8.0, 16, 32, 64, 128])
    levels = fsaf.heuristic_levels(boxes, strides).tolist()
    assert levels == [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4]
    half = fsaf.heuristic_levels(boxes, strides[1:]).tolist()
    assert half == [max(0, level - 1) for level in levels]


def test_online_level_is_that_of_least_loss():
    """Perfect boxes on level 1 only, equal scores everywhere."""
    cls, reg = torch.zeros(1, 84, 3), torch.full((1, 84, 4), 1e-3)
    from_level1 = POINTS.level == 1
    ltrb = torch.cat((POINTS.xy - 4, 44 - POINTS.xy), -1).clamp(min=0)
    perfect = ltrb / (4 * POINTS.stride[:, None])
    reg[0, from_level1] = perfect[from_level1]
    found = run([[BIG]], [[0]], preds=(cls, reg))
    assert found.level.tolist() == [[1]]
    assert (POINTS.level[found.positive[0]] == 1).all()
    cls, box, num_pos = fsaf.fsaf_losses(cls, reg, found)
    assert num_pos == 4
    assert box.item() == pytest.approx(0, abs=1e-5)


def test_losses_by_hand():
    """One positive; logits 0 make every probability one half."""
    cls = torch.zeros(1, 84, 2)
    reg = torch.full((1, 84, 4), 0.5)
    found = run([[BIG]], [[1]], preds=(cls, reg), level_select='heuristic')
    ignored = (found.cls_weight == 0).sum().item()
    loss, box, num_pos = fsaf.fsaf_losses(cls, reg, found)
    focal = 0.25 * math.log(2)
    negatives = 2 * 84 - ignored - 1
    expected = 0.75 * focal * negatives + 0.25 * focal
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    # predicted 1 x 1, target 1.25 x 1.25, in units of 32 px
    assert box.item() == pytest.approx(math.log(1.25**2), rel=1e-5)
    assert num_pos == 1


def test_boxes_without_any_point_and_no_boxes():
    lost = [[9, 9, 15, 15], [30, 30, 30, 50], [-90, -90, -70, -70]]
    found = run([lost, []], [[0, 1, 2], []])
    assert not found.positive.any()
    assert found.level[0].tolist() == [0, 0, 0]  # of equal losses the finest
    assert (found.cls_weight[1] == 1).all()
    preds = [value.requires_grad_() for value in predictions(2)]
    cls, box, num_pos = fsaf.fsaf_losses(*preds, found)
    assert num_pos == 0 and box == 0 and cls.isfinite()
    (cls + box).backward()
    assert all(value.grad.isfinite().all() for value in preds)
    assert (preds[1].grad == 0).all()


@pytest.mark.parametrize('unselected', ['negative', 'ignore'])
def test_batch_and_chunks_equal_single_images(unselected):
    images = [[BIG, SMALL, [2, 30, 62, 50]], [], [SMALL]]
    labels = [[0, 1, 1], [], [2]]
    cls, reg = predictions(3)
    batched = run(images, labels, (cls, reg), unselected=unselected)
    chunked = run(
        images, labels, (cls, reg), max_elements=1, unselected=unselected
    )
    for ours, theirs in zip(batched, chunked, strict=True):
        assert torch.equal(ours, theirs)
    for i in range(3):
        part = slice(i, i + 1)
        preds = (cls[part], reg[part])
        single = run(images[part], labels[part], preds, unselected=unselected)
        for name in ('assigned', 'labels', 'cls_weight', 'distances'):
            one, two = getattr(single, name)[0], getattr(batched, name)[i]
            assert torch.equal(one, two), name


def test_padding_ignores_nothing():
    """The padded ground truth has class 0 and lies at the origin."""
    found = run([[BIG], [BIG, SMALL]], [[1], [1, 1]])
    assert (found.cls_weight[0, :, 0] == 1).all()


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('effective_scale', 0, r'effective_scale must be in \(0, 1\], got 0'),
        ('ignore_scale', 0.1, r'ignore_scale must be in .*, got 0.1'),
        ('unselected', 'hide', "unselected must be one of .* got 'hide'"),
        ('level_select', 'size', "level_select must be one of .* 'size'"),
        ('region_rule', 'box', "region_rule must be one of .* got 'box'"),
        ('normalizer', 0.0, 'normalizer must be positive, got 0.0'),
    ],
)
def test_bad_rules(key, value, message):
    with pytest.raises(ValueError, match=message):
        fsaf.FSAFRules(**{key: value})
