"""One image of the generated dataset: placement, occlusion, boxes."""

from dataclasses import dataclass

import numpy as np

from ._shapes_outlines import OUTLINES, random_outline
from ._shapes_paint import background, fill_outline, object_texture, paint

SHAPES_CLASSES = tuple(OUTLINES)
SCENES = ('scattered', 'crowd', 'empty')
MIN_VISIBLE = 0.3
_MIN_PIXELS = 16
_TRIES = 6


@dataclass(frozen=True)
class ShapeObject:
    """One object of an image.

    Attributes:
        label: Index into `SHAPES_CLASSES`.
        mask: Its visible pixels, bool (H, W).
        full_box: Box (x1, y1, x2, y2) in pixels of the whole object, hidden
            parts included; it may reach beyond the image.
        visible_fraction: Visible pixels over all pixels of the whole object.
    """

    label: int
    mask: np.ndarray
    full_box: tuple[int, int, int, int]
    visible_fraction: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box (x1, y1, x2, y2) of the visible pixels, in pixels."""
        return mask_box(self.mask)

    @property
    def extreme_points(self) -> tuple[tuple[float, float], ...]:
        """Top, left, bottom and right point (x, y) of the visible pixels.

        Each lies on its side of :attr:`box`, at the center of the middle one
        of the mask's pixels that touch this side.
        """
        x1, y1, x2, y2 = self.box

        def middle(line: np.ndarray) -> float:
            touching = np.flatnonzero(line)
            return float(touching[len(touching) // 2]) + 0.5

        return (
            (middle(self.mask[y1]), float(y1)),
            (float(x1), middle(self.mask[:, x1])),
            (middle(self.mask[y2 - 1]), float(y2)),
            (float(x2), middle(self.mask[:, x2 - 1])),
        )


@dataclass
class _Layer:
    label: int
    mask: np.ndarray  # visible pixels so far, bool (H, W)
    full_box: tuple[int, int, int, int]
    full_area: int


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box (x1, y1, x2, y2) of a non-empty mask (H, W), in pixels."""
    xs = np.flatnonzero(mask.any(axis=0))
    ys = np.flatnonzero(mask.any(axis=1))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def draw_scene(
    rng: np.random.Generator,
    image_size: tuple[int, int] = (320, 240),
    scene: str = 'scattered',
) -> tuple[np.ndarray, list[ShapeObject]]:
    """Draw one image; a pure function of the state of `rng`.

    An object that would hide more than ``1 - MIN_VISIBLE`` of another one is
    left out.

    Args:
        rng: Source of all randomness.
        image_size: Width and height in pixels.
        scene: ``scattered``: 3 to 11 objects of all sizes, from 1/10 to 4/5
            of the short side; ``crowd``: 16 to 26 small objects of two or
            three classes that overlap; ``empty``: only background.

    Returns:
        The image, uint8 BGR (H, W, 3), and its objects from back to front.

    Raises:
        ValueError: `scene` is none of these.
    """
    if scene not in SCENES:
        raise ValueError(f'scene must be one of {SCENES}, got {scene!r}')
    width, height = image_size
    image = background(rng, (height, width))
    short = min(image_size)
    low, high = short / 10, short * 0.8
    classes = np.arange(len(SHAPES_CLASSES))
    count = 0
    if scene == 'scattered':
        count = int(rng.integers(3, 12))
    elif scene == 'crowd':
        count, high = int(rng.integers(16, 27)), short / 3
        classes = rng.choice(classes, rng.integers(2, 4), replace=False)
    sizes = np.exp(rng.uniform(np.log(low), np.log(high), count))
    # Mostly from large to small, or the small objects would be hidden.
    order = np.argsort(-sizes * np.exp(rng.normal(0, 0.5, count)))
    middle = rng.uniform(0.25, 0.75, 2) * image_size
    layers: list[_Layer] = []
    for size in sizes[order]:
        label = int(rng.choice(classes))
        for _ in range(_TRIES):
            center = rng.random(2) * image_size
            if scene == 'crowd':
                center = rng.normal(middle, short / 4)
            elif layers and rng.random() < 0.2:  # on or beside another
                x1, y1, x2, y2 = layers[rng.integers(len(layers))].full_box
                center = rng.uniform((x1, y1), (x2, y2))
            if _add(rng, image, layers, label, size / 2, center):
                break
    image += 4 * rng.standard_normal((height, width, 1), np.float32)
    objects = [
        ShapeObject(
            layer.label,
            layer.mask,
            layer.full_box,
            np.count_nonzero(layer.mask) / layer.full_area,
        )
        for layer in layers
    ]
    return np.clip(image, 0, 255).astype(np.uint8), objects


def _add(
    rng: np.random.Generator,
    image: np.ndarray,
    layers: list[_Layer],
    label: int,
    radius: float,
    center: np.ndarray,
) -> bool:
    """Paint one object unless it, or another one, would be hidden.

    Returns:
        Whether it was painted.
    """
    outline, angle = random_outline(rng, SHAPES_CLASSES[label], radius)
    shadow = int(min(radius / 4, 6)) if radius > 8 else 0
    cover, x, y = fill_outline([c + center for c in outline], shadow + 1)
    whole = cover >= 128
    full_area = int(np.count_nonzero(whole))
    mask = _place(whole, image.shape[:2], x, y)
    if not _is_visible(mask, full_area):
        return False
    left = [layer.mask & ~mask for layer in layers]
    areas = [layer.full_area for layer in layers]
    if not all(map(_is_visible, left, areas)):
        return False
    for layer, remaining in zip(layers, left, strict=True):
        layer.mask = remaining
    x1, y1, x2, y2 = mask_box(whole)
    full_box = (x1 + x, y1 + y, x2 + x, y2 + y)
    layers.append(_Layer(label, mask, full_box, full_area))
    # The hue depends on the class (neighbors are 0.125 apart): without it a
    # small network needs many more epochs to learn the outlines.
    hue = label / len(SHAPES_CLASSES) + rng.normal(0, 0.04)
    texture = object_texture(rng, cover.shape, hue, radius, angle)
    paint(image, texture, cover, x, y, shadow)
    return True


def _place(
    whole: np.ndarray, shape: tuple[int, int], x: int, y: int
) -> np.ndarray:
    """Put a mask (h, w) at (x, y) of an image; the part inside, (H, W)."""
    mask: np.ndarray = np.zeros(shape, bool)
    h, w = whole.shape
    part = whole[max(-y, 0) :, max(-x, 0) :]
    target = mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)]
    rows, cols = target.shape
    target[:] = part[:rows, :cols]
    return mask


def _is_visible(mask: np.ndarray, full_area: int) -> bool:
    area = int(np.count_nonzero(mask))
    return area >= max(MIN_VISIBLE * full_area, _MIN_PIXELS)
