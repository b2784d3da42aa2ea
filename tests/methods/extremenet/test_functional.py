import itertools
import json

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from mmdet_assigners.datasets import generate_shapes
from mmdet_assigners.methods.extremenet.functional import (
    aggregate_edges,
    extreme_targets,
    mirror_rows,
    octagons,
    scan_sums,
    step_sums,
    suppress_ghosts,
)
from mmdet_assigners.methods.extremenet.grouping import (
    Peaks,
    find_peaks,
    group,
)
from mmdet_assigners.methods.extremenet.points import (
    MIRRORED,
    edge_midpoints,
    extreme_points,
    outline,
)


def test_points_of_a_diamond():
    diamond = np.array([[5.0, 0], [10, 6], [4, 12], [0, 5]])
    assert extreme_points(diamond).tolist() == [
        [5, 0],
        [0, 5],
        [4, 12],
        [10, 6],
    ]


def test_points_in_the_middle_of_edges():
    """A vertex within 2 % of the box belongs to the edge."""
    roof = np.array([[10.0, 1], [30, 0], [50, 1], [80, 90], [0, 90]])
    top, left, bottom, right = extreme_points(roof)
    assert top.tolist() == [30, 0]  # of x = 10 and 50
    # as in the official code, an edge where the outline begins is cut off
    assert bottom.tolist() == [0, 90]
    rolled = np.roll(roof, 1, 0)
    assert extreme_points(rolled)[2].tolist() == [40, 90]
    assert left.tolist() == [0, 90] and right.tolist() == [80, 90]
    assert extreme_points(roof, 0.0)[0].tolist() == [30, 0]
    lopsided = roof.copy()
    lopsided[1, 0] = 40
    assert extreme_points(lopsided)[0].tolist() == [30, 0]
    assert extreme_points(lopsided, 0.0)[0].tolist() == [40, 0]


def test_points_of_one_or_two_vertices():
    one = extreme_points(np.array([[3.7, 8.2]]))
    assert one.tolist() == [[3, 8]] * 4
    two = extreme_points(np.array([[0.0, 0], [10, 20]]))
    assert two.tolist() == [[0, 0], [0, 0], [10, 20], [10, 20]]


def test_outlines_of_segmentations():
    square = [2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]
    parts = outline([square, [10.0, 10, 12, 10, 12, 12]])
    assert parts.shape == (7, 2)
    (code,) = rle.frPyObjects([square], 20, 20)
    pixels = outline(code)
    assert pixels.tolist()[0] == [2, 1]
    assert (pixels[1:, 1] >= pixels[:-1, 1]).all()  # row after row
    counts = dict(size=[20, 20], counts=[21, 3, 376])
    assert outline(counts).tolist() == [[1, 1], [1, 2], [1, 3]]
    assert outline([]) is None
    with pytest.raises(TypeError, match='must be a list of polygons or an R'):
        outline('polygon')


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        (
            [[1, 2, 3]],
            r'finite numbers x, y, x, y, \.\.\., got 3: .1.0, 2',
        ),
        ([[1, float('nan')]], r'finite numbers x, y, x, y, \.\.\., got 2'),
        ([1, 2, 3, 4], r'finite numbers x, y, x, y, \.\.\., got 1: .1.0'),
        (dict(counts='abc'), "must have 'size' and 'counts', got .'counts'"),
    ],
)
def test_wrong_segmentations(segmentation, message):
    with pytest.raises(ValueError, match=message):
        outline(segmentation)


def test_points_of_shapes(tmp_path):
    """The generated dataset has exact points, from masks."""
    root = generate_shapes(tmp_path / 'shapes', 12, 1, 1)
    content = json.loads((root / 'annotations' / 'train.json').read_text())
    distances = []
    for annotation in content['annotations']:
        found = extreme_points(outline(annotation['segmentation']))
        wanted = np.array(annotation['extreme_points'])
        x, y, width, height = annotation['bbox']
        # on the sides of the box, but for the last pixel
        assert abs(found[0, 1] - y) <= 1 and abs(found[1, 0] - x) <= 1
        assert abs(found[2, 1] - y - height) <= 2
        assert abs(found[3, 0] - x - width) <= 2
        size = np.array([width, height])
        distances.append(np.abs(found - wanted) / size)
    assert len(distances) > 50
    assert np.median(np.concatenate(distances)) < 0.03


def test_edge_midpoints():
    found = edge_midpoints(torch.tensor([[2.0, 4, 10, 20]]))
    assert found.tolist() == [[[6, 4], [2, 12], [6, 20], [10, 12]]]


def objects(num=6, size=(24, 32), seed=0):
    """Points (1, G, 4, 2), sizes, labels and valid of random objects."""
    generator = torch.Generator().manual_seed(seed)
    limit = torch.tensor([size[1] - 1.0, size[0] - 1.0])
    corners = torch.rand(1, num, 2, 2, generator=generator) * limit
    corners = corners.sort(2).values
    points = edge_midpoints(corners.flatten(2))
    share = torch.rand(1, num, 4, 1, generator=generator)
    low, high = corners[:, :, :1], corners[:, :, 1:]
    points[:, :, ::2, :1] = (
        low[..., :1] + share[:, :, ::2] * (high - low)[..., :1]
    )
    labels = torch.randint(0, 2, (1, num), generator=generator)
    sizes = (high - low)[:, :, 0]
    return points, sizes, labels, torch.ones_like(labels, dtype=torch.bool)


def test_targets_have_their_peaks_and_offsets():
    points, sizes, labels, valid = objects()
    found = extreme_targets(points, sizes, labels, valid, 2, (24, 32))
    assert found.heatmaps.shape == (1, 5, 2, 24, 32)
    at = found.index[..., None, :].expand(-1, -1, 2, -1)
    values = found.heatmaps.flatten(-2).gather(-1, at)
    own = labels[:, None, None].expand(-1, 5, 1, -1)
    assert (values.gather(2, own) == 1).all()
    cells = torch.stack((found.index % 32, found.index // 32), -1)[:, :4]
    torch.testing.assert_close((cells + found.offsets).transpose(1, 2), points)


def test_targets_of_mirrored_points():
    """Whole cells, so that a mirror image has the same offsets."""
    points, sizes, labels, valid = objects()
    points = points.floor()
    points[..., 1, 0] += (points[..., 1, 0] + points[..., 3, 0]) % 2
    args = (labels, valid, 2, (24, 32))
    plain = extreme_targets(points, sizes, *args).heatmaps
    moved = points.clone()
    moved[..., 0] = 31 - moved[..., 0]
    mirrored = extreme_targets(moved[:, :, MIRRORED], sizes, *args).heatmaps
    expected = plain.flip(-1)[:, [*MIRRORED, 4]]
    torch.testing.assert_close(mirrored, expected)


def test_targets_of_an_empty_batch():
    for padding in (0, 3):
        labels = torch.zeros(2, padding, dtype=torch.long)
        found = extreme_targets(
            torch.full((2, padding, 4, 2), torch.nan),
            torch.full((2, padding, 2), torch.nan),
            labels,
            labels > 0,
            2,
            (8, 8),
        )
        assert found.heatmaps.shape == (2, 5, 2, 8, 8)
        assert not found.heatmaps.any() and not found.offsets.any()


def test_small_objects_have_one_cell():
    points = torch.full((1, 1, 4, 2), 3.4)
    labels = torch.zeros(1, 1, dtype=torch.long)
    found = extreme_targets(
        points, torch.full((1, 1, 2), 0.1), labels, labels == 0, 1, (8, 8)
    )
    assert int(found.radius) == 0 and int(found.heatmaps.sum()) == 5


def run_sum(row, at):
    """Edge aggregation of one side, from its definition."""
    total, i = 0.0, at
    while i > 0 and row[i] >= row[i - 1]:
        i -= 1
        total += row[i]
    return total


def test_aggregation_by_the_definition():
    torch.manual_seed(0)
    values = torch.randint(0, 4, (3, 6, 9)).double() / 4
    found = aggregate_edges(values, 0.1, -1)
    for image, y, x in itertools.product(*map(range, values.shape)):
        row = values[image, y].tolist()
        both = run_sum(row, x) + run_sum(row[::-1], len(row) - 1 - x)
        assert float(found[image, y, x]) == pytest.approx(row[x] + 0.1 * both)
    columns = aggregate_edges(values.transpose(1, 2), 0.1, -2)
    torch.testing.assert_close(columns.transpose(1, 2), found)


def test_sums_at_once_are_those_of_steps():
    torch.manual_seed(0)
    values = torch.randint(0, 5, (2, 3, 11, 7)) / 5
    for dim in (-1, -2):
        torch.testing.assert_close(
            scan_sums(values, dim), step_sums(values, dim)
        )


def test_aggregation_by_hand():
    row = torch.full((1, 5), 0.5)
    found = aggregate_edges(row, 0.1, -1)
    assert found.tolist()[0] == pytest.approx([0.7] * 5)
    assert torch.equal(aggregate_edges(row, 0.0, -1), row)
    assert not aggregate_edges(torch.zeros(2, 5), 0.1, -1).any()


def loop(found, center, score_thr, center_thr, limit):
    """The official grouping: all quadruples, one after the other."""
    k = found.scores.shape[1]
    rows = []
    for quad in itertools.product(range(k), repeat=4):
        parts = [float(found.scores[p, i]) for p, i in enumerate(quad)]
        labels = [int(found.labels[p, i]) for p, i in enumerate(quad)]
        (tx, ty), (lx, ly), (bx, by), (rx, ry) = (
            found.cells[p, i].tolist() for p, i in enumerate(quad)
        )
        x, y = int((lx + rx + 0.5) / 2), int((ty + by + 0.5) / 2)
        middle = float(center[labels[0], y, x])
        score = (sum(parts) + 2 * middle) / 6
        score -= len(set(labels)) > 1
        score -= ty > ly or ty > by or ty > ry
        score -= lx > tx or lx > bx or lx > rx
        score -= by < ty or by < ly or by < ry
        score -= rx < tx or rx < lx or rx < bx
        score -= min(parts) < score_thr
        score -= middle < center_thr
        if score > 0:
            rows.append((score, quad))
    rows.sort(key=lambda row: -row[0])  # stable
    return rows[:limit]


def random_peaks(k, classes, steps, seed):
    """Peaks whose scores and places tie often."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high, *shape):
        return torch.randint(0, high, shape, generator=generator)

    cells = draw(8, 4, k, 2)
    # so that many quadruples are objects
    cells[0, :, 1] //= 3
    cells[1, :, 0] //= 3
    cells[2, :, 1] = 7 - cells[2, :, 1] // 3
    cells[3, :, 0] = 7 - cells[3, :, 0] // 3
    scores = draw(steps + 1, 4, k).double() / steps
    found = Peaks(
        scores.sort(1, descending=True).values,
        draw(classes, 4, k),
        cells,
        torch.rand(4, k, 2, generator=generator, dtype=torch.float64),
    )
    return found, draw(steps + 1, classes, 8, 8).double() / steps


@pytest.mark.parametrize(
    ('k', 'classes', 'steps', 'limit'),
    [(5, 1, 4, 1000), (6, 2, 8, 1000), (6, 2, 1000, 1000), (5, 1, 3, 20)],
)
def test_grouping_equals_the_loop(k, classes, steps, limit):
    """Every object, in the same order, ties too."""
    total = 0
    for seed in range(3):
        found, center = random_peaks(k, classes, steps, seed)
        expected = loop(found, center, 0.1, 0.2, limit)
        groups = group(found, center, 0.1, 0.2, limit)
        assert len(groups.scores) == len(expected)
        total += len(expected)
        for i, (score, quad) in enumerate(expected):
            assert float(groups.scores[i]) == pytest.approx(score)
            places = [
                (found.cells[p, q] + found.offsets[p, q]).tolist()
                for p, q in enumerate(quad)
            ]
            assert groups.points[i].tolist() == places
            (_, y1), (x1, _), (_, y2), (x2, _) = places
            assert groups.boxes[i].tolist() == [x1, y1, x2, y2]
            assert int(groups.labels[i]) == int(found.labels[0, quad[0]])
    assert total > 20


def test_grouping_of_noise_at_full_size():
    """K = 40 and 80 classes: the quadruples are never made at once."""
    from torch.profiler import ProfilerActivity, profile

    torch.manual_seed(0)
    k = 40
    one_class = Peaks(
        torch.rand(4, k),
        torch.zeros(4, k, dtype=torch.long),
        torch.randint(0, 128, (4, k, 2)),
        torch.rand(4, k, 2),
    )
    center = torch.rand(80, 128, 128)
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True
    ) as run:
        found = group(one_class, center)
    held = peak = 0
    for event in sorted(
        run.profiler.kineto_results.events(), key=lambda e: e.start_ns()
    ):
        if event.name() == '[memory]':
            held += event.nbytes()
            peak = max(peak, held)
    assert len(found.scores) == 1000
    assert peak < 64 * 2**20  # one float for each quadruple: 10 MiB
    many = one_class._replace(labels=torch.randint(0, 80, (4, k)))
    assert len(group(many, center).scores) < 1000


def planted(boxes, size=(24, 32), classes=2):
    """Probabilities and offsets with objects (class, points, center)."""
    heat = torch.zeros(1, 5, classes, *size)
    offset = torch.full((1, 4, 2, *size), 0.25)
    for label, points in boxes:
        top, left, bottom, right = points
        center = ((left[0] + right[0]) // 2, (top[1] + bottom[1]) // 2)
        for i, (x, y) in enumerate((*points, center)):
            heat[0, i, label, y, x] = 0.9
    return heat, offset


OBJECTS = [
    (0, [(8, 2), (4, 6), (7, 11), (12, 5)]),
    (1, [(20, 3), (15, 9), (19, 20), (28, 10)]),
    (1, [(5, 14), (2, 17), (6, 22), (10, 18)]),
]


def decode(heat, offset):
    (found,) = find_peaks(heat[:, :4], offset)
    return group(found, heat[0, 4])


def test_planted_objects_are_found():
    heat, offset = planted(OBJECTS)
    found = decode(heat, offset)
    boxes = {tuple(box) for box in found.boxes.tolist()}
    assert boxes == {
        (4.25, 2.25, 12.25, 11.25),
        (15.25, 3.25, 28.25, 20.25),
        (2.25, 14.25, 10.25, 22.25),
    }
    torch.testing.assert_close(found.scores, torch.full((3,), 0.9))
    heat[0, 4, 1, 11, 21] = 0.05  # below the threshold of centers
    fewer = decode(heat, offset)
    assert sorted(fewer.boxes[:, 0].tolist()) == [2.25, 4.25]
    assert len(decode(torch.zeros_like(heat), offset).scores) == 0


def test_decoding_of_mirrored_maps():
    """A mirrored map gives the mirrored objects."""
    objects = [
        (label, [(x, y) for x, y in points]) for label, points in OBJECTS
    ]
    # an odd sum of x rounds the center the other way
    assert all((o[1][1][0] + o[1][3][0]) % 2 == 0 for o in objects[::2])
    objects = objects[::2]
    heat, offset = planted(objects)
    plain = decode(heat, offset)
    order = [*MIRRORED, 4]
    offset = offset[:, MIRRORED].flip(-1).clone()
    offset[:, :, 0] = -offset[:, :, 0]
    mirrored = decode(heat[:, order].flip(-1), offset)
    boxes, points = mirror_rows(mirrored.boxes, mirrored.points, 31)
    torch.testing.assert_close(
        boxes.sort(0).values, plain.boxes.sort(0).values
    )
    torch.testing.assert_close(
        points.sum((1, 2)).sort().values,
        plain.points.sum((1, 2)).sort().values,
    )


def test_a_ghost_between_two_objects():
    boxes = torch.tensor([[0.0, 0, 30, 10], [0, 0, 10, 10], [20, 0, 30, 10]])
    scores = torch.tensor([0.4, 0.6, 0.5])
    found = suppress_ghosts(boxes, scores)
    assert found.tolist() == pytest.approx([0.2, 0.6, 0.5])
    assert scores.tolist() == pytest.approx([0.4, 0.6, 0.5])
    same = suppress_ghosts(boxes, scores, multiplier=4.0)
    assert torch.equal(same, scores)
    assert torch.equal(suppress_ghosts(boxes, scores, gate=0.4), scores)


def test_ghosts_one_after_the_other():
    """A later test sees scores that were halved before."""
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 30, 9], [0, 0, 4, 9]])
    boxes = torch.cat((boxes, torch.tensor([[5.0, 0, 9, 9]])))
    scores = torch.tensor([0.4, 0.45, 0.5, 0.4])
    # 0: 0.4 + 0.5 + 0.4 > 1.2, halved; 1: 0.45 + 0.2 + 0.5 + 0.4 > 1.35
    found = suppress_ghosts(boxes, scores)
    assert found.tolist() == pytest.approx([0.2, 0.225, 0.5, 0.4])


def test_octagons():
    box = torch.tensor([[0.0, 0, 80, 40]])
    points = torch.tensor([[[40.0, 0], [0, 20], [4, 40], [80, 40]]])
    (found,) = octagons(box, points)
    assert found.tolist() == [
        [50, 0],
        [30, 0],
        [0, 15],
        [0, 25],
        [0, 40],  # cut off at the corner
        [14, 40],
        [80, 40],
        [80, 35],
    ]
