"""Deformable RoI pooling against its definition and literal values."""

import pytest
import torch
from mmcv.ops import RoIAlign
from torch.autograd import gradcheck

from mmdet_assigners.ops.deform_roi_pool import (
    _chunks,
    deform_roi_pool,
    deform_roi_pool_reference,
)
from mmdet_assigners.ops.deform_roi_pool._grid import make_grid

SCALES = (1 / 8, 1 / 16, 1 / 32)
ALIGNED = [dict(mode='aligned', sampling_ratio=s) for s in (0, 1, 2, 5)]
LEGACY = [dict(mode='legacy', sampling_ratio=s) for s in (1, 2, 4)]
for_each_mode = pytest.mark.parametrize('options', ALIGNED + LEGACY)


def work(count=30, bins=3, seed=0, channels=3, grad=True):
    """Maps of two images of 256x320, RoIs in and around them, offsets."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    maps = [
        noise(2, channels, round(256 * s), round(320 * s)).requires_grad_(grad)
        for s in SCALES
    ]
    corner = torch.rand(count, 2, generator=generator) * 340 - 40
    side = torch.exp(torch.rand(count, 2, generator=generator) * 6 - 1)
    image = torch.arange(count)[:, None] % 2
    rois = torch.cat((image, corner, corner + side), 1).double()
    offset = (3 * noise(count, 2, bins, bins)).requires_grad_(grad)
    return maps, rois, offset, torch.arange(count) % 3


def both(function, maps, rois, offset, levels, **options):
    out = function(maps, rois, 3, SCALES, offset, levels, **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype)
    leaves = [*maps, offset]
    return [out, *torch.autograd.grad(out, leaves, weight.view_as(out))]


@for_each_mode
@pytest.mark.parametrize('entries', [_chunks.MAX_ENTRIES, 2000])
def test_equals_the_definition(options, entries, monkeypatch):
    """Values and gradients, in one chunk and in many."""
    monkeypatch.setattr(_chunks, 'MAX_ENTRIES', entries)
    found = both(deform_roi_pool, *work(), **options)
    expected = both(deform_roi_pool_reference, *work(), **options)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@for_each_mode
def test_gradcheck(options):
    generator = torch.Generator().manual_seed(0)
    x, offset = (
        torch.randn(
            shape, generator=generator, dtype=torch.float64, requires_grad=True
        )
        for shape in ((1, 1, 5, 6), (2, 2, 2, 2))
    )
    # places are not at whole numbers, where the slope changes
    rois = torch.tensor([[0, 3.1, 2.2, 33.3, 29.4], [0, -9.7, 11, 4.1, 70]])

    def run(x, offset):
        return deform_roi_pool(x, rois, 2, 1 / 8, offset, **options)

    assert gradcheck(run, (x, offset))


def test_offset_of_a_roi_is_that_of_all_bins():
    maps, rois, _, levels = work()
    offset = torch.randn(len(rois), 2, dtype=torch.float64)
    wide = offset[..., None, None].expand(-1, -1, 3, 3)
    options = dict(mode='legacy', sampling_ratio=4)
    args = maps, rois, 3, SCALES
    torch.testing.assert_close(
        deform_roi_pool(*args, offset, levels, **options),
        deform_roi_pool(*args, wide, levels, **options),
    )
    torch.testing.assert_close(
        deform_roi_pool(*args, None, levels, **options),
        deform_roi_pool(*args, 0 * offset, levels, **options),
    )


@pytest.mark.parametrize('ratio', [0, 2, 3])
def test_without_offsets_it_is_roi_align(ratio):
    maps, rois, _, _ = work(grad=False)
    align = RoIAlign(7, 1 / 8, sampling_ratio=ratio, aligned=True)
    found = deform_roi_pool(maps[0], rois, 7, 1 / 8, sampling_ratio=ratio)
    torch.testing.assert_close(found, align(maps[0], rois))


@pytest.mark.parametrize('options', [ALIGNED[2], LEGACY[2]])
def test_shift_of_the_proposal(options):
    """An offset of whole cells is a RoI that lies there."""
    x = torch.randn(1, 2, 30, 30, dtype=torch.float64)
    roi = torch.tensor([[0, 80.0, 72, 144, 136]], dtype=torch.float64)
    moved = roi + torch.tensor([0, 24.0, -16, 24, -16])
    side = 65 if options['mode'] == 'legacy' else 64
    offset = torch.tensor([[24.0, -16]], dtype=torch.float64) / (0.1 * side)
    torch.testing.assert_close(
        deform_roi_pool(x, roi, 7, 1 / 8, offset, **options),
        deform_roi_pool(x, moved, 7, 1 / 8, **options),
    )


@for_each_mode
def test_constant_map(options):
    """Inside the map any offset pools the constant."""
    x = torch.full((1, 1, 40, 40), 2.5)
    rois = torch.tensor([[0, 100.0, 110, 190, 200], [0, 90, 90, 97, 170]])
    offset = torch.randn(2, 2, 7, 7, generator=torch.manual_seed(0))
    out = deform_roi_pool(x, rois, 7, 1 / 8, offset, **options)
    torch.testing.assert_close(out, torch.full_like(out, 2.5))


def test_literal_values():
    """A ramp x + 10 y: sampled where the definitions say."""
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing='ij')
    ramp = (x + 10 * y)[None, None]
    # 2.5 rounds to 3, 3.4 to 3: cells 2.5 to 3.5, one sample at the start
    roi = torch.tensor([[0, 2.5, 2.5, 3.4, 3.4]])
    options = dict(mode='legacy', sampling_ratio=1)
    out = deform_roi_pool(ramp, roi, 1, 1, **options)
    assert out.item() == pytest.approx(2.5 + 25)
    # halves are rounded away from 0: -1.5 is -2; 2 of 4 samples along each
    # axis are beyond -0.5: those at -0.5 (moved to 0) and 0.5 are kept
    roi = torch.tensor([[0, -1.5, -1.5, 1, 1]])
    options = dict(mode='legacy', sampling_ratio=4)
    out = deform_roi_pool(ramp, roi, 1, 1, **options)
    assert out.item() == pytest.approx(0.25 + 2.5)
    # cells 1 to 3 and the samples 1.5, 2.5
    roi = torch.tensor([[0, 1.5, 1.5, 3.5, 3.5]])
    out = deform_roi_pool(ramp, roi, 1, 1, sampling_ratio=2)
    assert out.item() == pytest.approx(2 + 20)
    # samples -1.5 (0) and 0.5 along each axis; the mean is over all four
    roi = torch.tensor([[0, -2.0, -2, 2, 2]])
    out = deform_roi_pool(ramp, roi, 1, 1, sampling_ratio=2)
    assert out.item() == pytest.approx((0.5 + 5) / 4)
    # offset (1, -2) x 0.1 x 4 cells
    roi = torch.tensor([[0, 2.0, 2, 6, 6]])
    offset = torch.tensor([[1.0, -2.0]])
    out = deform_roi_pool(ramp, roi, 1, 1, offset, sampling_ratio=1)
    assert out.item() == pytest.approx(3.5 + 0.4 + 10 * (3.5 - 0.8))


@for_each_mode
def test_outside_and_without_sense(options):
    """RoIs far from the map or not finite pool 0, without a gradient."""
    maps, _, _, _ = work()
    far = [[0, 900.0, 900, 999, 999], [1, -99, -99, -70, -70]]
    far += [[0, float('nan'), 0, 9, 9], [1, 0, 0, float('inf'), 9]]
    rois = torch.tensor(far, dtype=torch.float64)
    offset = torch.zeros(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    out = deform_roi_pool(maps[0], rois, 3, 1 / 8, offset, **options)
    assert (out == 0).all()
    for grad in torch.autograd.grad(out.sum(), (maps[0], offset)):
        assert (grad == 0).all()


def test_offsets_without_sense():
    maps, rois, offset, levels = work(4, grad=False)
    offset[0, 0, 0, 0], offset[1] = float('nan'), float('inf')
    out = deform_roi_pool(maps, rois, 3, SCALES, offset, levels)
    assert out.isfinite().all() and (out[0, :, 0, 0] == 0).all()
    assert (out[1] == 0).all()


@for_each_mode
def test_tiny_roi(options):
    """Without area all samples lie at one place, if there are any."""
    x = torch.full((1, 1, 8, 8), 3.0)
    rois = torch.tensor([[0, 33.0, 33, 33, 33], [0, 33, 33, 34, 34]])
    out = deform_roi_pool(x, rois, 7, 1 / 8, **options)
    nothing = options['sampling_ratio'] == 0
    expected = torch.tensor([0.0 if nothing else 3.0, 3.0])
    expected = expected.view(2, 1, 1, 1).expand_as(out)
    torch.testing.assert_close(out, expected)


def test_no_roi():
    maps, rois, offset, levels = work(0)
    out = deform_roi_pool(maps, rois, 3, SCALES, offset, levels)
    assert out.shape == (0, 3, 3, 3)
    out.sum().backward()
    assert all((x.grad == 0).all() for x in maps)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    """Places are computed in float32, the result has the maps' dtype."""
    maps, rois, offset, levels = work(grad=False)
    maps, offset = [x.to(dtype) for x in maps], offset.to(dtype)
    args = rois.float(), 3, SCALES
    out = deform_roi_pool(maps, *args, offset, levels)
    exact = deform_roi_pool(
        [x.float() for x in maps], *args, offset.float(), levels
    )
    assert out.dtype == dtype
    torch.testing.assert_close(out, exact.to(dtype))


def test_listed_cells_are_bounded(monkeypatch):
    monkeypatch.setattr(_chunks, 'MAX_ENTRIES', 5000)
    listed = []
    bag = torch.nn.functional.embedding_bag

    def spy(cells, *args, **options):
        listed.append(len(cells))
        return bag(cells, *args, **options)

    monkeypatch.setattr(_chunks.F, 'embedding_bag', spy)
    maps, rois, offset, levels = work(200)
    options = dict(mode='legacy', sampling_ratio=4)
    out = deform_roi_pool(maps, rois, 3, SCALES, offset, levels, **options)
    forward = len(listed)
    assert forward > 5 and max(listed) <= 5000
    out.sum().backward()  # lists them again instead of keeping them
    assert len(listed) == 2 * forward and max(listed) <= 5000


def test_samples_that_share_cells_are_merged():
    """16 samples less than a cell apart: 5 cells per axis, made even."""
    maps, _, _, _ = work(grad=False)
    roi = torch.tensor([[0, 0.0, 0, 200, 200]], dtype=torch.float64)
    levels = torch.zeros(1, dtype=torch.int64)
    args = maps, roi, 7, list(SCALES), levels, 'legacy', 4, torch.float64
    ((group,),) = _chunks.plan(make_grid(*args), maps, roi, levels, 7)
    assert (group.window, group.samples) == (6, 4)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(mode='other'), 'mode must be one of aligned, legacy'),
        (dict(mode='legacy'), 'sampling_ratio must be 1 or more in mode'),
        (dict(sampling_ratio=-1), 'sampling_ratio must be 0 or more'),
        (dict(output_size=0), 'output_size must be positive, got 0'),
        (dict(spatial_scales=0.5), 'got 1 for 3 maps'),
        (dict(levels=None), 'levels must be given for 3 maps'),
        (dict(levels=torch.zeros(2)), r'levels must be \(4,\), one per RoI'),
        (dict(rois=torch.zeros(4, 4)), r'rois must be \(N, 5\), got \(4, 4\)'),
        (dict(offset=torch.zeros(4, 18)), r'\(4, 2, 3, 3\) or \(4, 2\), got'),
        (dict(levels=torch.tensor([0, 1, 2, 3])), 'levels must be 0 to 2, 1'),
        (dict(image=2), 'rois must name images 0 to 1, 1 do not'),
        (dict(image=-1), 'rois must name images 0 to 1, 1 do not'),
    ],
)
def test_refuses(change, message):
    maps, rois, offset, levels = work(4, grad=False)
    rois[0, 0] = change.pop('image', 0)
    options = dict(
        feats=maps,
        rois=rois,
        output_size=3,
        spatial_scales=SCALES,
        offset=offset,
        levels=levels,
    )
    with pytest.raises(ValueError, match=message):
        deform_roi_pool(**options | change)
