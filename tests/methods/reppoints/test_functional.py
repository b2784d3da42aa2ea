"""RepPoints: conversions and the assignment of locations."""

import pytest
import torch
from mmdet.models.task_modules.assigners import PointAssigner
from mmengine.structures import InstanceData

from mmdet_assigners.methods.reppoints.assigner import BatchPointAssigner
from mmdet_assigners.methods.reppoints.functional import (
    METHODS,
    nearest_points,
    points_to_boxes,
    scale_gradient,
)


def grid(side=1.0):
    index = torch.tensor([-1.0, 0, 1]).double() * side
    y, x = torch.meshgrid(index, index, indexing='ij')
    return torch.stack((x, y), -1).view(9, 2)


def test_moment_of_the_grid():
    """Mean 0, unbiased standard deviation sqrt(6 / 8)."""
    scale = torch.tensor([0.0, 2.0]).double().log1p()  # factors 1 and 3
    box = points_to_boxes(grid(), 'moment', scale)
    std = 0.75**0.5
    expected = torch.tensor([-std, -3 * std, std, 3 * std]).double()
    torch.testing.assert_close(box, expected)


def test_extremes_of_the_grid():
    assert points_to_boxes(grid(2), 'minmax').tolist() == [-2, -2, 2, 2]
    # the first row and the first of the second
    box = points_to_boxes(grid(2), 'partial_minmax')
    assert box.tolist() == [-2, -2, 2, 0]


@pytest.mark.parametrize('method', METHODS)
def test_leading_dimensions(method):
    points = torch.randn(2, 3, 25, 2)
    scale = torch.tensor([0.1, -0.2])
    boxes = points_to_boxes(points, method, scale)
    one = points_to_boxes(points[1, 2], method, scale)
    torch.testing.assert_close(boxes[1, 2], one)


@pytest.mark.parametrize('method', METHODS)
def test_points_that_coincide_have_a_finite_gradient(method):
    points = torch.ones(4, 9, 2, requires_grad=True)
    scale = torch.zeros(2, requires_grad=True)
    boxes = points_to_boxes(points, method, scale)
    torch.testing.assert_close(boxes, torch.ones(4, 4))
    boxes[:, :3].sum().backward()
    assert torch.isfinite(points.grad).all()
    # the mean or the extreme moves with the points
    torch.testing.assert_close(points.grad.sum((0, 1)), torch.tensor([8.0, 4]))


def test_scale_gradient():
    x = torch.tensor([2.0], requires_grad=True)
    for factor in (0.0, 0.1, 1.0):
        x.grad = None
        out = scale_gradient(x, factor)
        out.backward()
        assert out.item() == pytest.approx(2)
        assert x.grad.item() == pytest.approx(factor)


def test_wrong_method():
    with pytest.raises(ValueError, match=r"must be one of .* got 'mean'"):
        points_to_boxes(grid(), 'mean')
    with pytest.raises(ValueError, match="'moment' needs it"):
        points_to_boxes(grid(), 'moment')


def pyramid(strides=(8, 16, 32), size=128):
    points = []
    for stride in strides:
        index = torch.arange(0, size, stride)
        y, x = torch.meshgrid(index, index, indexing='ij')
        xy = torch.stack((x, y), -1).view(-1, 2)
        points.append(torch.cat((xy, torch.full_like(xy, stride)), 1))
    return torch.cat(points).double()


def nearest(points, gts, valid=None, **options):
    boxes = torch.tensor(gts, dtype=torch.double).view(1, -1, 4)
    mask = torch.ones(boxes.shape[:2], dtype=torch.bool)
    found = nearest_points(
        points[:, :2], points[:, 2], boxes, mask, valid=valid, **options
    )[0]
    where = (found >= 0).nonzero().flatten().tolist()
    return {tuple(points[i, :3].int().tolist()): int(found[i]) for i in where}


@pytest.mark.parametrize(
    ('side', 'stride'),
    # log2(side / 4), cut and clamped to 3..5
    [(1, 8), (32, 8), (63, 8), (64, 16), (127, 16), (128, 32), (500, 32)],
)
def test_level_of_a_side(side, stride):
    box = [66 - side / 2, 34 - side / 2, 66 + side / 2, 34 + side / 2]
    x, y = (round(v / stride) * stride for v in (66, 34))
    assert nearest(pyramid(), [box]) == {(x, y, stride): 0}


def test_elongated_box_takes_the_mean_of_the_levels():
    # 32 x 128: (3 + 5) / 2 = 4
    assert nearest(pyramid(), [[32, 0, 64, 128]]) == {(48, 64, 16): 0}


def test_distance_is_relative_to_the_sides():
    # center (46, 70) of 16 x 64: 2/16 and 2/64 to (48, 72), the others
    # are nearer in pixels along y only if it counts less
    points = torch.tensor([[48.0, 70, 8, 8], [46, 80, 8, 8]]).double()
    assert nearest(points, [[38, 38, 54, 102]]) == {(48, 70, 8): 0}
    points[0, 0] = 50  # 4 / 16 against 10 / 64
    assert nearest(points, [[38, 38, 54, 102]]) == {(46, 80, 8): 0}


def test_location_goes_to_the_nearest_then_the_first():
    far, near = [18, 16, 50, 48], [17, 16, 49, 48]
    assert nearest(pyramid(), [far, near]) == {(32, 32, 8): 1}
    assert nearest(pyramid(), [near, far]) == {(32, 32, 8): 0}
    assert nearest(pyramid(), [near, near]) == {(32, 32, 8): 0}
    for bound in (1, 2**22):
        found = nearest(pyramid(), [near, near], max_elements=bound)
        assert found == {(32, 32, 8): 0}


def test_invalid_points_and_padding():
    points, box = pyramid(), [16, 16, 48, 48]
    valid = ((points[:, 0] != 32) | (points[:, 1] != 32))[None]
    found = nearest(points, [box], valid=valid)
    assert len(found) == 1 and (32, 32, 8) not in found
    assert nearest(points, [box], valid=valid & False) == {}
    assert nearest(points[:0], [box]) == {}
    boxes = torch.tensor([[box]]).double()
    mask = torch.zeros(1, 1, dtype=torch.bool)
    found = nearest_points(points[:, :2], points[:, 2], boxes, mask)
    assert (found == -1).all()


def random_gts(number, seed):
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(2, number, 2, generator=generator).double() * 128
    return torch.cat((ends.amin(0), ends.amax(0)), -1)


@pytest.mark.parametrize('pos_num', [1, 3])
@pytest.mark.parametrize('number', [0, 1, 40])
def test_equals_mmdets_assigner(number, pos_num):
    for seed in range(5):
        gts = InstanceData(
            bboxes=random_gts(number, seed), labels=torch.arange(number)
        )
        priors = InstanceData(priors=pyramid())
        ours = BatchPointAssigner(4, pos_num).assign(priors, gts)
        theirs = PointAssigner(4, pos_num).assign(priors, gts)
        assert torch.equal(ours.gt_inds, theirs.gt_inds)
        assert torch.equal(ours.labels, theirs.labels)


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device'
)
@pytest.mark.parametrize('pos_num', [1, 3])
def test_gpu_equals_cpu(pos_num):
    found = [
        BatchPointAssigner(4, pos_num).assign(
            InstanceData(priors=pyramid().to(device)),
            InstanceData(
                bboxes=random_gts(40, 0).to(device),
                labels=torch.arange(40, device=device),
            ),
        )
        for device in ('cpu', 'cuda')
    ]
    assert torch.equal(found[0].gt_inds, found[1].gt_inds.cpu())
    assert torch.equal(found[0].labels, found[1].labels.cpu())


@pytest.mark.parametrize('max_elements', [1, 5000, 2**22])
def test_batch_equals_single_images(max_elements):
    points = pyramid()
    boxes = torch.stack([random_gts(12, seed) for seed in (7, 8)])
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, 5:] = False
    args = (points[:, :2], points[:, 2])
    both = nearest_points(*args, boxes, mask, max_elements=max_elements)
    for index, count in enumerate((12, 5)):
        one = nearest_points(
            *args, boxes[index, None, :count], mask[index, None, :count]
        )
        assert torch.equal(both[index], one[0])


def test_boxes_for_points_are_refused():
    priors = InstanceData(priors=torch.tensor([[0.0, 0, 32, 16]]))
    gts = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    with pytest.raises(ValueError, match=r'got boxes: .* BatchRepPointsHead'):
        BatchPointAssigner().assign(priors, gts)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(scale=0), 'scale must be positive, got 0'),
        (dict(pos_num=0), 'pos_num must be at least 1, got 0'),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        BatchPointAssigner(**options)
