"""Textures, backgrounds and filled outlines of the generated dataset."""

import colorsys

import cv2
import numpy as np

_FINE = 4  # subpixels per side of a pixel, for anti-aliasing
_PATTERNS = ('plain', 'gradient', 'stripes', 'checks', 'dots', 'marble')


def color(hue: float, saturation: float, value: float) -> np.ndarray:
    """A BGR color in [0, 255] as float32 (3,); `hue` wraps around at 1."""
    rgb = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return 255 * np.array(rgb[::-1], dtype=np.float32)


def fill_outline(
    contours: list[np.ndarray], margin: int
) -> tuple[np.ndarray, int, int]:
    """Fill contours by the even-odd rule, anti-aliased.

    Args:
        contours: Arrays (K points, 2) of (x, y) in pixels.
        margin: Empty pixels around the object.

    Returns:
        The coverage as uint8 (h, w), and the column and row of its first
        pixel, which may be negative.
    """
    points = np.concatenate(contours)
    x, y = np.floor(points.min(axis=0)).astype(int) - margin
    w, h = np.ceil(points.max(axis=0)).astype(int) + margin - (x, y)
    fine = np.zeros((h * _FINE, w * _FINE), np.uint8)
    grid = [np.rint((c - (x, y)) * _FINE - 0.5) for c in contours]
    cv2.fillPoly(fine, [c.astype(np.int32) for c in grid], 255)
    cover = cv2.resize(fine, (int(w), int(h)), interpolation=cv2.INTER_AREA)
    return cover, int(x), int(y)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: float
) -> np.ndarray:
    """Smooth random values, float32 (h, w), mostly in [0, 1].

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels.
        cell: Size of a blob in pixels.
    """
    h, w = shape
    grid = rng.random((int(h / cell) + 2, int(w / cell) + 2), np.float32)
    return cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)


def object_texture(
    rng: np.random.Generator,
    shape: tuple[int, int],
    hue: float,
    radius: float,
    angle: float,
) -> np.ndarray:
    """A two-colored, shaded texture.

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels.
        hue: Of the main color; wraps around at 1.
        radius: Half of the longest diameter of the object, in pixels.
        angle: Rotation in radians.

    Returns:
        Float32 BGR (h, w, 3) in [0, 255].
    """
    h, w = shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    x, y = (x - w / 2) / radius, (y - h / 2) / radius
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    # patterns finer than 5 pixels would look like noise
    wave = 2 * np.pi / max(rng.uniform(0.3, 0.6), 5 / radius)
    pattern = rng.choice(_PATTERNS)
    if pattern == 'plain':
        mix: np.ndarray = np.zeros(shape, np.float32)
    elif pattern == 'gradient':
        mix = (u + 1) / 2
    elif pattern == 'stripes':
        mix = 0.5 + 2 * np.sin(wave * u)
    elif pattern == 'checks':
        mix = 0.5 + 4 * np.sin(wave / 2 * u) * np.sin(wave / 2 * v)
    elif pattern == 'dots':
        mix = 3 * np.cos(wave * u) + 3 * np.cos(wave * v) - 1.5
    else:
        mix = 2.5 * smooth_noise(rng, shape, max(radius / 3, 3)) - 0.75
    mix = np.clip(mix, 0, 1)[..., None]
    first = color(hue, rng.uniform(0.6, 0.95), rng.uniform(0.6, 1))
    second = color(
        hue + rng.normal(0, 0.04), rng.uniform(0.3, 0.9), rng.uniform(0.4, 1)
    )
    shade = 1 - 0.22 * np.clip(x + y, -1, 1)[..., None]
    return (first * (1 - mix) + second * mix) * shade


def background(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A marbled, muted background with strokes, float32 BGR (h, w, 3)."""
    h, w = shape
    hue, value = rng.random(), rng.uniform(0.3, 0.8)
    dark = color(hue, rng.uniform(0.05, 0.4), value - rng.uniform(0.1, 0.25))
    light = color(
        hue + rng.normal(0, 0.1), rng.uniform(0.05, 0.3), value + 0.15
    )
    cell = min(h, w) / rng.uniform(1.5, 4)
    mix: np.ndarray = sum(
        weight * smooth_noise(rng, shape, max(cell * scale, 2))
        for weight, scale in ((0.6, 1), (0.25, 0.3), (0.15, 0.08))
    )
    if rng.random() < 0.4:
        y, x = np.mgrid[:h, :w].astype(np.float32)
        angle, period = rng.uniform(0, np.pi), rng.uniform(8, 30)
        phase = (np.cos(angle) * x + np.sin(angle) * y) / period
        mix = mix + 0.15 * np.sin(2 * np.pi * phase)
    mix = np.clip(mix, 0, 1)[..., None]
    ground = dark * (1 - mix) + light * mix
    return ground * (1 + _strokes(rng, shape)[..., None])


def _strokes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Relative brightness (h, w) of some curves: edges of no object."""
    h, w = shape
    canvas: np.ndarray = np.zeros(shape, np.uint8)
    for _ in range(rng.integers(0, 7)):
        steps = rng.normal(0, min(h, w) / 8, (5, 2)).cumsum(axis=0)
        curve = cv2.resize(steps, (2, 50), interpolation=cv2.INTER_CUBIC)
        points = np.rint(curve + rng.random(2) * (w, h)).astype(np.int32)
        thickness = int(rng.integers(1, 4))
        cv2.polylines(
            canvas, [points], False, 255, thickness, lineType=cv2.LINE_AA
        )
    strength = rng.uniform(0.15, 0.35) * rng.choice([-1, 1])
    return canvas.astype(np.float32) * np.float32(strength / 255)


def paint(
    image: np.ndarray,
    texture: np.ndarray,
    cover: np.ndarray,
    x: int,
    y: int,
    shadow: int,
) -> None:
    """Paint an object and its shadow over an image, in place.

    Args:
        image: float32 BGR (H, W, 3).
        texture: Colors of the object, float32 BGR (h, w, 3).
        cover: Coverage, uint8 (h, w), with `shadow` empty pixels around.
        x: Column of the first pixel of `cover`; may be outside the image.
        y: Row of the first pixel of `cover`; may be outside the image.
        shadow: Distance and softness of the shadow in pixels; 0 for none.
    """
    alpha = cover.astype(np.float32) / 255
    height, width = image.shape[:2]
    top, left = max(y, 0), max(x, 0)
    bottom, right = (
        min(y + cover.shape[0], height),
        min(x + cover.shape[1], width),
    )
    here = np.s_[top - y : bottom - y, left - x : right - x]
    target = image[top:bottom, left:right]
    if shadow:
        size = 2 * (shadow // 2) + 1
        moved = np.float32([[1, 0, shadow / 2], [0, 1, shadow / 2]])
        soft = cv2.warpAffine(alpha, moved, alpha.shape[::-1])
        soft = cv2.blur(soft, (size, size))
        target *= 1 - 0.45 * soft[here][..., None]
        # a darker rim
        rim = alpha - cv2.erode(alpha, np.ones((3, 3), np.uint8))
        texture = texture * (1 - 0.4 * rim[..., None])
    blend = alpha[here][..., None]
    target *= 1 - blend
    target += texture[here] * blend
