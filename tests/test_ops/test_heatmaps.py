import pytest
import torch
from mmdet.models.utils import (
    gaussian_radius,
    gen_gaussian_target,
    get_local_maximum,
)

from mmdet_assigners.ops import heatmaps


def boxes_of(num, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(num, 2, generator=generator) * size
    sides = torch.rand(num, 2, generator=generator) * size / 3
    return torch.cat((low, low + sides), 1)


def test_gaussians_equal_the_loop_of_mmdet():
    """Many objects of few classes, some at the border, some on one cell."""
    torch.manual_seed(0)
    size, classes, objects = 48, 3, 40
    cells = torch.randint(0, size, (2, objects, 2))
    cells[0, 1] = cells[0, 0]
    radius = torch.randint(0, 12, (2, objects))
    labels = torch.randint(0, classes, (2, objects))
    valid = torch.rand(2, objects) > 0.2
    found = heatmaps.draw_gaussians(
        (2, classes, size, size), labels, cells, radius, valid
    )
    expected = torch.zeros_like(found)
    for b, g in valid.nonzero().tolist():
        gen_gaussian_target(
            expected[b, labels[b, g]], cells[b, g].tolist(), radius[b, g]
        )
    torch.testing.assert_close(found, expected)


def test_exact_radius_is_that_of_mmdet():
    sides = torch.rand(50, 2, dtype=torch.float64) * 90
    found = heatmaps.exact_radius(*sides.T, 0.3)
    expected = [gaussian_radius(pair, 0.3) for pair in sides.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected).double())


def test_official_radius_of_squares():
    """By hand: with an overlap of 0.7 the smallest root is 0.2728 s."""
    side = torch.tensor([10.0, 100.0])
    found = heatmaps.official_radius(side, side, 0.7)
    # a = 2.8, b = -2.8 s, c = -0.3 s s; (b + sqrt(b b - 4 a c)) / 2
    expected = (-2.8 + (2.8**2 + 4 * 2.8 * 0.3) ** 0.5) / 2 * side
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=0)


def test_objects_of_one_cell():
    """The heat map has one center, sizes and offsets both objects."""
    boxes = torch.tensor([[[8.0, 8, 16, 16], [9.0, 9, 15, 15]]])
    found = heatmaps.center_targets(
        boxes,
        torch.zeros(1, 2, dtype=torch.long),
        torch.ones(1, 2, dtype=torch.bool),
        1,
        (32, 32),
    )
    assert (found.heatmap == 1).sum() == 1
    assert found.index.tolist() == [[12 * 32 + 12] * 2]
    assert found.size.tolist() == [[[8.0, 8.0], [6.0, 6.0]]]


@pytest.mark.parametrize(
    'box',
    [
        [40.0, 40, 50, 50],  # outside
        [5.0, 5, 5, 9],  # without width
        [9.0, 9, 5, 5],  # negative
        [float('nan')] * 4,
    ],
)
def test_objects_that_are_left_out(box):
    found = heatmaps.center_targets(
        torch.tensor([[box]]),
        torch.zeros(1, 1, dtype=torch.long),
        torch.ones(1, 1, dtype=torch.bool),
        1,
        (32, 32),
    )
    assert not found.valid.any()
    assert found.radius.item() == -1 and found.index.item() == 0
    assert not found.heatmap.any() and not found.size.any()


def test_boxes_are_clipped_to_the_last_cell():
    found = heatmaps.center_targets(
        torch.tensor([[[-8.0, 4, 12, 60]]]),
        torch.zeros(1, 1, dtype=torch.long),
        torch.ones(1, 1, dtype=torch.bool),
        1,
        (32, 24),
    )
    assert found.size.tolist() == [[[12.0, 27.0]]]
    assert found.offset.tolist() == [[[0.0, 0.5]]]  # of (6, 17.5)


def test_class_beyond_the_maps():
    with pytest.raises(ValueError, match='labels must be from 0 to 1, got 2'):
        heatmaps.center_targets(
            torch.tensor([[[4.0, 4, 8, 8]]]),
            torch.tensor([[2]]),
            torch.ones(1, 1, dtype=torch.bool),
            2,
            (32, 32),
        )


def test_peaks_are_fewer_than_asked_for():
    scores, index, labels, cells = heatmaps.peaks(torch.rand(2, 1, 3, 2), 100)
    assert scores.shape == index.shape == labels.shape == (2, 6)
    assert cells.shape == (2, 6, 2)
    assert (scores.diff(dim=1) <= 0).all()


@pytest.mark.parametrize('kernel', [2, 0, -1])
def test_window_needs_a_middle(kernel):
    with pytest.raises(ValueError, match=f'kernel must be odd.*got {kernel}'):
        heatmaps.local_maxima(torch.zeros(1, 1, 4, 4), kernel)


@pytest.mark.parametrize('kernel', [1, 3, 5])
def test_local_maxima_are_those_of_mmdet(kernel):
    """Plateaus, borders and maps smaller than the window too."""
    torch.manual_seed(0)
    maps = torch.randint(0, 6, (2, 3, 9, 7)) / 5
    for heatmap in (maps, maps[..., :2, :1]):
        found = heatmaps.local_maxima(heatmap, kernel)
        assert torch.equal(found, get_local_maximum(heatmap, kernel))


def test_places_in_the_image():
    places = torch.tensor([[0.0, 0.0], [10, 10], [100, 100]])
    args = places, (128, 128), (512, 512), (8, 108, 20, 320), (2, 1)
    found = heatmaps.to_image(*args)
    assert found.tolist() == [[0, 0], [10, 32], [150, 100]]
    beyond = heatmaps.to_image(*args, clip=False)
    assert beyond.tolist() == [[-10, -8], [10, 32], [190, 392]]
