"""Shape-guided RoIAlign and the re-alignment of features."""

import itertools
import math

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

from mmdet_assigners.methods.shape_aware import (
    RelativeRoIExtractor,
    ShapeGuidedRoIExtractor,
)
from mmdet_assigners.methods.shape_aware import functional as shape

MODES = ['pooled_amplify', 'sample_amplify', 'pooled_mask', 'sample_mask']
ROIS = [
    [0, 5, 6, 70, 60],
    [1, -20, -10, 30, 90],  # partly outside
    [0, 10, 10, 11, 50.0],
    [1, 200, 200, 300, 300],  # outside
    [0, 10, 10, 10, 40],  # no area
]


def make(cls=ShapeGuidedRoIExtractor, size=4, channels=3, **options):
    align = dict(type='RoIAlign', output_size=size, sampling_ratio=0)
    strides = options.pop('strides', [4, 8])
    return cls(align, channels, strides, 16, **options)


def inputs():
    torch.manual_seed(0)
    feats = [torch.randn(2, 3, 80 // s, 96 // s) for s in (4, 8)]
    return feats, torch.tensor(ROIS)


def bilinear(feat, y, x):
    """A point of (channels, H, W) as RoIAlign samples it."""
    height, width = feat.shape[-2:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return feat.new_zeros(len(feat))
    out = 0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    for dy, dx in itertools.product((0, 1), (0, 1)):
        weight = abs(1 - dy - (y - int(y))) * abs(1 - dx - (x - int(x)))
        row, col = min(int(y) + dy, height - 1), min(int(x) + dx, width - 1)
        out = out + weight * feat[:, row, col]
    return out


def by_points(feat, roi, mask, size, scale, ratio, aligned):
    """The equation of the paper with m instead of 1 + m, a loop."""
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (float(side) * scale - shift for side in roi[1:])
    height, width = y2 - y1, x2 - x1
    if not aligned:
        height, width = max(height, 1), max(width, 1)
    rows = ratio or math.ceil(height / size[0])
    cols = ratio or math.ceil(width / size[1])
    out = feat.new_zeros(len(feat[0]), *size)
    for i, j in itertools.product(range(size[0]), range(size[1])):
        for a, b in itertools.product(range(rows), range(cols)):
            v = (i + (a + 0.5) / rows) / size[0]
            u = (j + (b + 0.5) / cols) / size[1]
            value = bilinear(
                feat[int(roi[0])], y1 + v * height, x1 + u * width
            )
            side = mask.shape[-1]
            out[:, i, j] += value * bilinear(
                mask, v * side - 0.5, u * side - 0.5
            )
    return out / max(rows * cols, 1)


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_it_is_the_equation(ratio, aligned):
    torch.manual_seed(0)
    feat = torch.randn(2, 3, 10, 12, dtype=torch.float64)
    rois = torch.tensor(ROIS, dtype=torch.float64)
    masks = torch.rand(5, 1, 9, 9, dtype=torch.float64)
    options = ((3, 5), 1 / 8, ratio, aligned)
    found = shape.masked_roi_align(feat, rois, masks, *options)
    expected = [
        by_points(feat, roi, mask, *options)
        for roi, mask in zip(rois, masks, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('scale', [None, 1.5])
def test_empty_and_full_masks(mode, scale):
    """An empty mask leaves the feature or nothing; a full one doubles it."""
    feats, rois = inputs()
    plain = make(SingleRoIExtractor)(feats, rois, scale)
    context = float(mode.endswith('amplify'))
    extractor = make(mode=mode)
    for sign, factor in ((-1, context), (1, 1 + context)):
        logits = torch.full((5, 1, 14, 14), sign * math.inf)
        found = extractor(feats, rois, scale, masks=logits)
        torch.testing.assert_close(found, factor * plain)
    assert torch.equal(extractor(feats, rois, scale), plain)


def test_touching_squares():
    """A bin over both: only samples with their own mask are not mixed."""
    feat = torch.ones(1, 1, 16, 16)
    feat[..., 8:] = 5
    logits = torch.full((1, 1, 16, 16), math.inf)
    logits[..., 8:] = -math.inf
    rois = torch.tensor([[0, 0, 0, 16.0, 16]])
    means = {}
    for mode in ('sample_mask', 'pooled_mask'):
        extractor = make(size=1, channels=1, strides=[1], mode=mode)
        value = extractor([feat], rois, masks=logits)
        means[mode] = value.item() / 0.5  # per area of the mask
    assert means == dict(sample_mask=1.0, pooled_mask=3.0)
    plain = make(SingleRoIExtractor, size=1, channels=1, strides=[1])
    assert plain([feat], rois).item() == 3.0


@pytest.mark.parametrize('mode', MODES)
def test_gradient_of_the_mask(mode):
    feats, rois = inputs()
    for detach in (False, True):
        feats = [feat.requires_grad_() for feat in feats]
        logits = torch.zeros(5, 1, 14, 14, requires_grad=True)
        found = make(mode=mode, detach_mask=detach)(feats, rois, masks=logits)
        found.square().sum().backward()
        grad = torch.zeros(()) if logits.grad is None else logits.grad
        assert (grad.abs().sum() == 0) == detach
        assert all(feat.grad.abs().sum() > 0 for feat in feats)


@pytest.mark.parametrize('mode', MODES)
def test_no_rois(mode):
    feats, _ = inputs()
    feats = [feat.requires_grad_() for feat in feats]
    logits = torch.zeros(0, 1, 14, 14, requires_grad=True)
    found = make(mode=mode)(feats, torch.zeros(0, 5), masks=logits)
    assert found.shape == (0, 3, 4, 4)
    found.sum().backward()
    assert all((feat.grad == 0).all() for feat in feats)


def test_refuses():
    with pytest.raises(ValueError, match='did you mean sample_mask'):
        make(mode='sample_mas')
    feats, rois = inputs()
    with pytest.raises(ValueError, match=r'must be \(5, 1, S, S\), got \(4,'):
        make()(feats, rois, masks=torch.zeros(4, 1, 14, 14))


def test_class_of_the_mask():
    logits = torch.arange(6.0).view(2, 3, 1, 1)
    found = shape.own_mask(logits, torch.tensor([2, 0]))
    assert found.flatten().tolist() == [2, 3]
    agnostic = logits[:, :1]
    assert shape.own_mask(agnostic, torch.tensor([2, 0])) is agnostic


def test_enlarged_and_clipped():
    rois = torch.tensor([[1, 10, 20, 30, 60.0]])
    twice = shape.enlarge(rois, 2.0)
    assert twice.tolist() == [[1, 0, 0, 40, 80]]
    assert torch.equal(shape.enlarge(rois, 1.0), rois)
    clipped = shape.clip_rois(
        twice, torch.tensor([5.0, 5]), torch.tensor([35.0, 70])
    )
    assert clipped.tolist() == [[1, 5, 5, 35, 70]]


def test_unmoved_rois_keep_their_features():
    torch.manual_seed(0)
    extractor = RelativeRoIExtractor(
        dict(type='RoIAlign', output_size=14, sampling_ratio=0), 3
    )
    rois = torch.tensor([[0, 1, 2, 33, 44], [1, 5, 5, 9, 60.0]])
    feats = torch.randn(2, 3, 14, 14)
    relative = shape.relative_rois(rois, rois, (14, 14))
    expected = torch.tensor([[0, 0, 0, 14.0, 14], [1, 0, 0, 14, 14]])
    torch.testing.assert_close(relative, expected)
    torch.testing.assert_close(extractor(feats, rois, rois), feats)
    # the right half of the first map
    half = rois.clone()
    half[0, 1] = 17
    assert shape.relative_rois(half, rois, (14, 14))[0].tolist() == [
        *(0, 7, 0, 14, 14)
    ]
    none = extractor(feats[:0], rois[:0], rois[:0])
    assert none.shape == (0, 3, 14, 14)


def test_a_frame_without_area():
    rois = torch.tensor([[0, 5.0, 5, 5, 9]])
    relative = shape.relative_rois(rois, rois, (14, 14))
    assert relative.isfinite().all()
    assert relative[0, 1] == relative[0, 3]
