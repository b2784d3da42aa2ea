import random

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmdet_assigners.datasets.transforms import (
    CenterWarp,
    KeepResolution,
    PCAColorJitter,
    RandomCenterWarp,
)


def painted(height=120, width=200, box=(60, 30, 100, 70)):
    """An image that is white inside a box of whole pixels."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return dict(
        img=image,
        gt_bboxes=HorizontalBoxes(torch.tensor([box], dtype=torch.float32)),
        gt_bboxes_labels=np.array([3]),
        gt_ignore_flags=np.array([False]),
    )


def white(results):
    """Box of what is white in the result."""
    y, x = np.nonzero(results['img'][..., 0] > 127)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_boxes_stay_on_their_object():
    """Whatever is drawn, within a pixel; the official mirror moves by one."""
    random.seed(0)
    transform = RandomCenterWarp((256, 256), border=40)
    seen = set()
    for _ in range(40):
        results = transform(painted())
        assert results['img'].shape == (256, 256, 3)
        assert results['img_shape'] == (256, 256)
        seen.add(results['flip'])
        (box,) = results['gt_bboxes'].tensor.numpy()
        np.testing.assert_allclose(box, white(results), atol=2.6)
    assert seen == {False, True}


def test_mirror_exchanges_pixels():
    """A square around the center: pixel x becomes width - 1 - x."""
    image = np.arange(64 * 64, dtype=np.float32).reshape(64, 64, 1)
    results = dict(img=np.repeat(image, 3, 2))
    warp = CenterWarp((64, 64))
    found = warp.warp(dict(results), 64, (31.5, 32), mirror=True)
    shift = 64 / 2 - 31.5 - 0.5  # x' = 63.5 - x + shift
    assert shift == 0
    expected = warp.warp(dict(results), 64, (31.5, 32))['img'][:, ::-1]
    # both are half a pixel beside the grid
    np.testing.assert_allclose(
        found['img'][:, 1:-1], expected[:, :-2], rtol=1e-4
    )


def test_objects_outside_are_removed():
    random.seed(0)
    transform = RandomCenterWarp(
        (64, 64), scales=(0.1,), border=10, flip_prob=0.0
    )
    counts = {len(transform(painted())['gt_bboxes']) for _ in range(30)}
    assert counts == {0, 1}


def test_small_images_have_a_smaller_border():
    """Of 128 pixels as of xingyizhou/CenterNet: 200 -> 64, 120 -> 32."""
    transform = RandomCenterWarp((64, 64))
    random.seed(0)
    drawn = [transform._draw(200) for _ in range(500)]
    assert (min(drawn), max(drawn)) == (64, 135)
    drawn = [transform._draw(120) for _ in range(500)]
    assert (min(drawn), max(drawn)) == (32, 87)


def test_border_and_scale_lead_back():
    results = CenterWarp((128, 128))(painted())
    (box,) = results['gt_bboxes'].tensor.numpy()
    top, _, left, _ = results['border']
    back = (box - [left, top, left, top]) / results['scale_factor'][0]
    np.testing.assert_allclose(back, [60, 30, 100, 70], rtol=1e-5)
    np.testing.assert_allclose(box, white(results), atol=1.1)


def test_masks_are_refused():
    with pytest.raises(ValueError, match='with_mask=False'):
        CenterWarp()(painted() | dict(gt_masks=None))
    with pytest.raises(ValueError, match='with_mask=False'):
        KeepResolution()(painted() | dict(gt_masks=None))


@pytest.mark.parametrize('size', [(512, 384), 512, (0, 0), (512,)])
def test_inputs_are_squares(size):
    with pytest.raises(ValueError, match='size must be width and height of a'):
        CenterWarp(size)


@pytest.mark.parametrize(
    ('scale', 'divisor', 'sides', 'corner'),
    [
        (1.0, 32, (128, 224), (4, 12)),
        (0.75, 32, (96, 160), (3, 5)),
        (1.0, 128, (128, 256), (4, 28)),
    ],
)
def test_keep_resolution(scale, divisor, sides, corner):
    """120 x 200 pixels, in the center of the next larger multiples."""
    results = KeepResolution(scale, divisor)(painted())
    assert results['img'].dtype == np.uint8
    # boxes move with the image, for what looks at the input
    (box,) = results['gt_bboxes'].tensor.numpy()
    np.testing.assert_allclose(box, white(results), atol=0.6)
    assert results['img'].shape[:2] == sides
    assert results['scale_factor'] == (scale, scale)
    top, bottom, left, right = results['border']
    assert (top, left) == corner
    assert bottom - top == int(120 * scale) and right - left == 200 * scale
    assert not results['img'][: int(top)].any()


def test_a_multiple_is_padded_too():
    """As in the official code, which always adds a pixel."""
    results = KeepResolution()(dict(img=np.ones((64, 96, 3), np.uint8)))
    assert results['img'].shape == (96, 128, 3)


def test_colors_change_by_the_formulas():
    """Without noise and with one draw for all: a line through the image."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (9, 7, 3), dtype=np.uint8)
    gray = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_BGR2GRAY)
    random.seed(3)
    found = PCAColorJitter(
        brightness=0, contrast=0, saturation=0.4, lighting=0
    )(dict(img=image.copy()))['img']
    share = (found - gray[..., None]) / (image - gray[..., None])
    share = share[np.abs(image - gray[..., None]) > 20]
    assert 0.6 <= share.mean() <= 1.4 and share.std() < 1e-3
    found = PCAColorJitter(0, 0.4, 0, 0)(dict(img=image.copy()))['img']
    np.testing.assert_allclose(
        found.mean(),
        image.mean()
        + (gray.mean() - image.mean())
        * (1 - np.polyfit(image.ravel(), found.ravel(), 1)[0]),
        rtol=1e-3,
    )
    found = PCAColorJitter(0, 0, 0, 0.1)(dict(img=image.copy()))['img']
    shift = found - image
    np.testing.assert_allclose(shift, shift[:1, :1] + 0 * shift, atol=1e-3)
    assert 0 < np.abs(shift[0, 0]).max() < 25


def test_nothing_is_clipped():
    random.seed(0)
    image = np.full((4, 4, 3), 255, np.uint8)
    found = [PCAColorJitter()(dict(img=image))['img'].max() for _ in range(20)]
    assert max(found) > 255


def test_odd_sides():
    """As in CornerNet and ExtremeNet, the next number that ends in ones."""
    for size, expected in ((100, 127), (127, 127), (128, 255), (300, 383)):
        image = np.zeros((size, size, 3), np.uint8)
        results = KeepResolution(divisor=128, odd=True)(dict(img=image))
        assert (
            results['img_shape'] == (expected, expected) == (size | 127,) * 2
        )
        top, bottom, left, right = results['border']
        assert (top, left) == (expected // 2 - size // 2,) * 2
        assert bottom - top == right - left == size
