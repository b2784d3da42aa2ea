import pytest
import torch
from mmcv.ops import CornerPool
from mmdet.models.losses import AssociativeEmbeddingLoss

from mmdet_assigners.methods.cornernet.functional import (
    corner_targets,
    embedding_losses,
    last_of_cells,
    mirror_boxes,
    pair_corners,
)

MAP, INPUT = (24, 32), (96, 128)


@pytest.mark.parametrize('mode', ['top', 'left', 'bottom', 'right'])
def test_corner_pooling_is_a_running_maximum(mode):
    """From the corner into the object, next to a double loop."""
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 7)
    expected = torch.empty_like(x)
    for row in range(5):
        for column in range(7):
            inside = dict(
                top=x[..., row:, column],
                bottom=x[..., : row + 1, column],
                left=x[..., row, column:],
                right=x[..., row, : column + 1],
            )[mode]
            expected[..., row, column] = inside.amax(-1)
    assert torch.equal(CornerPool(mode)(x), expected)


def targets_of(boxes, labels, rule='mmdet', size=MAP, pixels=INPUT):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(1, -1, 4)
    labels = torch.tensor(labels)[None]
    valid = torch.ones_like(labels, dtype=torch.bool)
    return corner_targets(boxes, labels, valid, 3, size, pixels, rule)


def test_literal_targets():
    found = targets_of([[8, 10, 30, 41]], [1])
    # cells of 4 pixels: (2, 2.5) and (7.5, 10.25)
    assert found.index.flatten().tolist() == [2 * 32 + 2, 10 * 32 + 7]
    assert found.offsets.flatten(0, 2).tolist() == [[0, 0.5], [0.5, 0.25]]
    ones = (found.heatmaps == 1).nonzero().tolist()
    assert ones == [[0, 0, 1, 2, 2], [0, 1, 1, 10, 7]]


def test_radius_by_rule():
    """A box of 20 x 20 cells: t = 0.3 exactly, 0.7 by the old formula."""
    boxes = [[8, 8, 88, 88]]
    assert targets_of(boxes, [0]).radius.item() == 4
    # the smallest of 38.2, 73.5 and 5.5
    assert targets_of(boxes, [0], 'official').radius.item() == 5


def test_boxes_at_the_end_of_the_input():
    """The last cell has the corner; by the official rule the last pixel."""
    boxes = [[120, 80, 200, 300]]
    for rule, last in (('mmdet', 0), ('official', 1)):
        found = targets_of(boxes, [0], rule)
        assert found.index[0, 1, 0] == 24 * 32 - 1
        expected = torch.tensor([(128 - last) / 4 - 31, (96 - last) / 4 - 23])
        torch.testing.assert_close(found.offsets[0, 1, 0], expected)


@pytest.mark.parametrize(
    'box',
    [[10, 10, 10, 40], [30, 40, 20, 50], [130, 5, 150, 9], [-9, -9, -1, -1]],
    ids=['no width', 'turned', 'right of the input', 'above the input'],
)
def test_objects_that_are_left_out(box):
    found = targets_of([box, [8, 8, 30, 40]], [0, 1])
    assert found.valid.tolist() == [[False, True]]
    assert not found.heatmaps[:, :, 0].any()


def test_an_object_smaller_than_a_cell():
    """Both corners are in one cell; the box is what the offsets say."""
    found = targets_of([[9, 9, 11, 10.5]], [0])
    assert found.valid.all() and found.radius.item() == 0
    assert found.index.flatten().tolist() == [2 * 32 + 2] * 2
    places = found.offsets.flatten(0, 2) * 4 + 8
    assert places.tolist() == [[9, 9], [11, 10.5]]


def test_odd_input_sizes():
    """A map that is no fraction of the input."""
    found = targets_of([[10, 10, 90, 60]], [0], 'mmdet', (26, 23), (101, 90))
    assert found.index[0, 1, 0] == int(60 * 26 / 101) * 23 + 22


def test_the_last_of_a_cell():
    index = torch.tensor([[3, 5, 3, 3]])
    valid = torch.tensor([[True, True, True, False]])
    found = last_of_cells(index, valid, 6)
    assert found.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize('count', [0, 1, 2, 5])
def test_embedding_losses_of_mmdet(count):
    torch.manual_seed(count)
    first, second = torch.randn(2, 2, 6, requires_grad=True)
    valid = torch.zeros(2, 6, dtype=torch.bool)
    valid[0, :count] = True
    valid[1, :3] = True
    rows = [[i for i in range(6) if valid[b, i]] for b in range(2)]
    match = [[[[0, i], [0, i]] for i in row] for row in rows]
    maps = [part.view(2, 1, 1, 6) for part in (first, second)]
    expected = AssociativeEmbeddingLoss(1.0, 1.0)(*maps, match)
    found = embedding_losses(first, second, valid)
    torch.testing.assert_close(list(found), [x.view(()) for x in expected])
    ours = torch.autograd.grad(sum(found), (first, second))
    theirs = torch.autograd.grad(sum(expected), (first, second))
    torch.testing.assert_close(ours, theirs)


def planted(distance, classes=(1, 1)):
    """Maps with one peak of each corner, (4, 3) and (20, 12)."""
    heat = torch.full((1, 2, 3, *MAP), 1e-3)
    heat[0, 0, classes[0], 3, 4] = 0.9
    heat[0, 1, classes[1], 12, 20] = 0.7
    embedding = torch.zeros(1, 2, 1, *MAP)
    embedding[0, 1] = distance
    offset = torch.zeros(1, 2, 2, *MAP)
    offset[0, :, 0], offset[0, :, 1] = 0.25, 0.5
    return heat, embedding, offset


def test_two_corners_are_one_box():
    found = pair_corners(*planted(0.4))
    best = found.scores > 0.5
    assert best.sum() == 1
    assert found.boxes[best].tolist() == [[4.25, 3.5, 20.25, 12.5]]
    assert found.labels[best].tolist() == [1]
    torch.testing.assert_close(found.scores[best], torch.tensor([0.8]))


@pytest.mark.parametrize(
    'maps', [planted(0.6), planted(0.0, (1, 2))], ids=['embedding', 'class']
)
def test_corners_of_different_objects(maps):
    assert (pair_corners(*maps).scores <= 0.5).all()


def test_corners_in_the_wrong_order():
    heat, embedding, offset = planted(0.0)
    found = pair_corners(heat.flip(1), embedding, offset)
    assert (found.scores < 0.5).all()


def test_fewer_places_than_corners():
    """A map of 3 x 2 cells has six corners of each type."""
    torch.manual_seed(0)
    heat = torch.rand(1, 2, 1, 3, 2)
    zeros = torch.zeros(1, 2, 2, 3, 2)
    found = pair_corners(heat, zeros[:, :, :1], zeros)
    assert found.boxes.shape == (1, 36, 4)
    few = pair_corners(heat, zeros[:, :, :1], zeros, num_dets=5)
    torch.testing.assert_close(few.scores, found.scores[:, :5])


def test_mirrored_boxes():
    found = mirror_boxes(torch.tensor([1.0, 2, 5, 7]), 32)
    assert found.tolist() == [27, 2, 31, 7]


def test_refuses_a_rule():
    boxes, labels = torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.long)
    valid = torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match='rule must be one of mmdet, offic'):
        corner_targets(boxes, labels, valid, 1, (8, 8), (32, 32), rule='x')
