"""YOLO's matching against mmdet's assigner and hand-made cases."""

import pytest
import torch
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.models.task_modules.assigners import GridAssigner
from mmdet.models.task_modules.prior_generators import YOLOAnchorGenerator
from mmengine.structures import InstanceData

from mmdet_assigners.models.task_modules.assigners._base import AssignInputs
from mmdet_assigners.models.task_modules.assigners.grid_assigners import (
    BatchGridAssigner,
    DarknetGridAssigner,
)
from mmdet_assigners.ops.anchor_match import IGNORED, NEGATIVE
from mmdet_assigners.ops.anchor_points import pad_gts
from mmdet_assigners.ops.yolo_match import (
    cell_priors,
    darknet_match,
    grid_match,
    grid_of_priors,
    shape_iou,
)

SIZES = [(4, 5), (8, 10), (16, 20)]  # rows and columns: 128 x 160 px
ANCHORS = [
    [(116, 90), (156, 198), (373, 326)],
    [(30, 61), (62, 45), (59, 119)],
    [(10, 13), (16, 30), (33, 23)],
]
STARTS = (0, 60, 300)


@pytest.fixture(scope='module')
def priors():
    generator = YOLOAnchorGenerator([32, 16, 8], ANCHORS)
    levels = generator.grid_priors(SIZES, device='cpu')
    return torch.cat(levels), [len(level) for level in levels]


@pytest.fixture(scope='module')
def grid(priors):
    return grid_of_priors(*priors, 3)


def padded(*images):
    boxes = [torch.tensor(b, dtype=torch.float).view(-1, 4) for b in images]
    labels = [torch.arange(len(b)) % 3 for b in boxes]
    return pad_gts(boxes, labels)


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 2, generator=generator)
    center = center * torch.tensor([160.0, 128.0])
    size = torch.rand(count, 2, generator=generator) ** 2 * 120 + 4
    return torch.cat([center - size / 2, center + size / 2], 1)


def test_grid_of_priors(grid):
    torch.testing.assert_close(
        grid.wh, torch.tensor(ANCHORS, dtype=torch.float).view(-1, 2)
    )
    assert grid.stride.tolist() == [32] * 3 + [16] * 3 + [8] * 3
    assert grid.cells[::3].tolist() == [[5, 4], [10, 8], [20, 16]]
    assert grid.start[::3].tolist() == [*STARTS]
    assert grid.slot.tolist() == [0, 1, 2] * 3
    assert grid.per_cell.tolist() == [3] * 9


def test_cells_of_centers(grid, priors):
    # center (64, 40): on the border of cells, which belongs to the right one
    boxes, _, mask = padded(
        [[60, 30, 68, 50], [-20, 0, 10, 9], [300, 0, 340, 9]], []
    )
    index = cell_priors(grid, boxes, mask)
    assert index[0, 0, ::3].tolist() == [
        3 * (1 * 5 + 2),
        60 + 3 * (2 * 10 + 4),
        300 + 3 * (5 * 20 + 8),
    ]
    centers = priors[0][index[0, 0]].view(9, 2, 2).mean(1) - boxes[0, 0, :2]
    assert (centers.abs() <= 40).all()
    assert (index[0, 1:] == -1).all()  # outside
    assert (index[1] == -1).all()  # padding


def test_shape_iou():
    boxes = torch.tensor([[[100.0, 100, 110, 120], [5, 5, 5, 9]]])
    iou = shape_iou(boxes, torch.tensor([[10.0, 10], [20, 20]]))
    expected = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]])
    torch.testing.assert_close(iou, expected)


@pytest.mark.parametrize('thresholds', [(0.5, 0.5, 0.0), (0.6, 0.3, 0.2)])
@pytest.mark.parametrize('max_elements', [2**22, 1])
def test_equals_mmdet(grid, priors, thresholds, max_elements):
    """Boxes that share cells and ties included; one image is empty."""
    images = [random_boxes(n, seed=n) for n in (30, 7, 0, 1)]
    images[1] = torch.cat([images[1], images[1][:2]])  # equal boxes
    boxes, _, mask = padded(*[b.tolist() for b in images])
    gt, iou = grid_match(
        grid, priors[0], boxes, mask, *thresholds, max_elements
    )
    head = YOLOV3Head(3, [1, 1, 1], [1, 1, 1])
    assigner = GridAssigner(*thresholds)
    for b, own in enumerate(images):
        flags = torch.cat(head.responsible_flags(SIZES, own, 'cpu'))
        labels = torch.zeros(len(own), dtype=torch.long)
        expected = assigner.assign(
            InstanceData(priors=priors[0], responsible_flags=flags),
            InstanceData(bboxes=own, labels=labels),
        )
        assert torch.equal(gt[b] + 1, expected.gt_inds)
        matched = gt[b] >= 0
        torch.testing.assert_close(
            iou[b][matched], expected.max_overlaps[matched]
        )
    assert (gt[0] >= 0).sum() >= 20


def test_darknet_one_prior_per_object(grid, priors):
    # the second has the shape of anchor (62, 45), the third that of (10, 13)
    found = [[40, 20, 156, 110], [64, 40, 126, 85], [150, 120, 160, 133]]
    boxes, labels, mask = padded(found, [])
    far = torch.full((2, len(priors[0]), 4), 1000.0)
    match = darknet_match(grid, boxes, labels, mask, far, 0.5, 3)
    expected = {
        0 + 3 * (2 * 5 + 3) + 0: 0,  # center (98, 65), stride 32
        60 + 3 * (3 * 10 + 5) + 1: 1,  # center (95, 62.5), stride 16
        300 + 3 * (15 * 20 + 19) + 0: 2,  # center (155, 126.5), stride 8
    }
    places = (match.gt[0] >= 0).nonzero().flatten().tolist()
    assert {place: match.gt[0, place].item() for place in places} == expected
    assert (match.gt[1] == NEGATIVE).all()
    for place, gt in expected.items():
        one_hot = [float(gt == c) for c in range(3)]
        assert match.class_targets[0, place].tolist() == one_hot
    assert match.class_targets.sum() == 3


def test_darknet_shared_prior(grid, priors):
    """The last object has the box, both give their classes."""
    box = [64, 40, 126, 85]
    boxes, labels, mask = padded([box, [62, 39, 124, 84]])
    far = torch.full((1, len(priors[0]), 4), 1000.0)
    match = darknet_match(grid, boxes, labels, mask, far, 0.5, 3)
    place = (match.gt[0] >= 0).nonzero().flatten()
    assert match.gt[0, place].tolist() == [1]
    assert match.class_targets[0, place].tolist() == [[1, 1, 0]]


def test_darknet_ignores_by_predictions(grid, priors):
    boxes, labels, mask = padded([[64, 40, 126, 85]])
    pred = torch.full((1, len(priors[0]), 4), 1000.0)
    own = 60 + 3 * (3 * 10 + 5) + 1
    pred[0, [own, 7]] = boxes[0, 0]  # both predict the object
    pred[0, 8] = torch.tensor([64.0, 40, 95, 85])  # IoU 0.5: not above
    match = darknet_match(grid, boxes, labels, mask, pred, 0.5, 3)
    assert match.gt[0, own] == 0
    assert match.gt[0, 7] == IGNORED
    assert match.gt[0, 8] == NEGATIVE
    torch.testing.assert_close(match.iou[0, 8], torch.tensor(0.5))
    one = darknet_match(grid, boxes, labels, mask, pred, 0.5, 3, 1)
    assert torch.equal(one.gt, match.gt)
    lower = DarknetGridAssigner(ignore_iou_thr=0.4).assign_batch(
        AssignInputs(
            priors[0],
            boxes,
            labels,
            mask,
            tuple(priors[1]),
            None,
            torch.zeros(1, len(priors[0]), 3),
            pred,
            3,
        )
    )
    assert lower.gt[0, 8] == IGNORED


def test_darknet_object_outside(grid, priors):
    boxes, labels, mask = padded([[-50, -40, -10, -5], [200, 10, 240, 60]])
    far = torch.full((1, len(priors[0]), 4), 1000.0)
    match = darknet_match(grid, boxes, labels, mask, far, 0.5, 3)
    assert (match.gt == NEGATIVE).all()
    assert not match.class_targets.any()


def test_assigners_leave_invalid_priors_out(priors):
    boxes, labels, mask = padded([[64, 40, 126, 85]])
    valid = torch.ones(1, len(priors[0]), dtype=torch.bool)
    valid[:, 60:300] = False
    inputs = AssignInputs(
        priors[0],
        boxes,
        labels,
        mask,
        tuple(priors[1]),
        valid,
        torch.zeros(1, len(priors[0]), 3),
        priors[0][None],
        3,
    )
    for assigner in (BatchGridAssigner(), DarknetGridAssigner()):
        assert (assigner.assign_batch(inputs).gt[~valid] == IGNORED).all()


def test_assigners_say_what_they_need(priors):
    boxes, labels, mask = padded([[64, 40, 126, 85]])
    plain = (priors[0], boxes, labels, mask)
    with pytest.raises(ValueError, match='BatchGridAssigner needs num_level'):
        BatchGridAssigner().assign_batch(AssignInputs(*plain))
    with pytest.raises(ValueError, match='needs the predicted boxes'):
        DarknetGridAssigner().assign_batch(
            AssignInputs(*plain, tuple(priors[1]))
        )
    with pytest.raises(ValueError, match='needs the class logits'):
        DarknetGridAssigner().assign_batch(
            AssignInputs(*plain, tuple(priors[1]), pred_boxes=priors[0][None])
        )


@pytest.mark.parametrize(
    ('build', 'text'),
    [
        (lambda: BatchGridAssigner(1.5), r'pos_iou_thr must be in \[0, 1\]'),
        (lambda: BatchGridAssigner(neg_iou_thr=-1), 'neg_iou_thr'),
        (lambda: DarknetGridAssigner(2), 'ignore_iou_thr.*got 2'),
        (lambda: DarknetGridAssigner(max_elements=0), 'max_elements'),
    ],
)
def test_wrong_arguments(build, text):
    with pytest.raises(ValueError, match=text):
        build()
