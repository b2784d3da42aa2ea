"""The generated dataset `shapes`: a small COCO-format benchmark."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from ._shapes_scene import SHAPES_CLASSES, ShapeObject, draw_scene

__all__ = [
    'SHAPES_CLASSES',
    'SHAPES_METAINFO',
    'ShapeObject',
    'draw_scene',
    'generate_shapes',
]

SHAPES_METAINFO = dict(
    classes=SHAPES_CLASSES,
    palette=[
        (220, 57, 57),
        (232, 167, 38),
        (150, 205, 40),
        (40, 190, 90),
        (38, 205, 205),
        (60, 110, 235),
        (150, 75, 230),
        (230, 60, 170),
    ],
)
_STAMP = 'shapes.json'
# To be increased when the same parameters give other images or files.
_FORMAT = 1
_MIN_SIDE, _MAX_SIDE = 64, 4096


def generate_shapes(
    root: str | Path,
    num_train: int = 288,
    num_val: int = 96,
    num_test: int = 48,
    image_size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> Path:
    """Write the dataset, unless it exists.

    Textured shapes of eight classes on a textured background: sizes over
    three octaves, elongated, hollow and non-convex objects, overlaps, crowds
    (one image in twelve) and images without objects (one in 24). The files
    are a function of the arguments alone; image `i` of a split does not
    depend on the number of images.

    The files are ``annotations/{train,val,test}.json`` in COCO format,
    ``images/*.jpg`` and ``shapes.json`` with the arguments. Besides COCO's
    keys an annotation has ``full_bbox`` (x, y, w, h of the whole object;
    `bbox` and `segmentation` are of its visible pixels), ``extreme_points``
    (top, left, bottom, right as (x, y), on the sides of `bbox`) and
    ``visible_fraction`` (at least 0.3).

    Everything is written to a hidden folder beside `root`, which is renamed
    at the end. So `root` is complete or absent, even if the process is killed
    (the hidden folder remains) or several processes run at once.

    Args:
        root: Folder of the dataset.
        num_train: Number of training images.
        num_val: Number of validation images.
        num_test: Number of test images.
        image_size: Width and height in pixels, 64 to 4096 each.
        seed: Seed of all randomness.

    Returns:
        The folder, as a path.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is out of range, or `root` holds the dataset
            with other parameters.
        FileExistsError: `root` exists and is something else.
    """
    counts = dict(train=num_train, val=num_val, test=num_test)
    for name, count in counts.items():
        _check_int(f'num_{name}', count, 1)
    _check_int('seed', seed, 0, 2**32 - 1)
    if not isinstance(image_size, tuple | list) or len(image_size) != 2:
        raise ValueError(
            f'image_size must be (width, height), got {image_size!r}'
        )
    for side in image_size:
        _check_int('image_size', side, _MIN_SIDE, _MAX_SIDE)
    stamp = dict(
        format=_FORMAT,
        num_train=num_train,
        num_val=num_val,
        num_test=num_test,
        image_size=list(image_size),
        seed=seed,
    )
    root = Path(root)
    if _is_there(root, stamp):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with _folder_beside(root) as work:
        (work / 'images').mkdir()
        (work / 'annotations').mkdir()
        for number, (split, count) in enumerate(counts.items()):
            size = (image_size[0], image_size[1])
            _write_split(work, split, count, size, (seed, number))
        (work / _STAMP).write_text(json.dumps(stamp, indent=1) + '\n')
        try:
            work.rename(root)
        except OSError:  # not empty: another process may have been faster
            if not _is_there(root, stamp):
                raise
    return root


def _check_int(name: str, value: Any, low: int, high: int = 10**6) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f'{name} must be an integer, got {value!r}')
    if not low <= value <= high:
        raise ValueError(f'{name} must be in [{low}, {high}], got {value}')


def _is_there(root: Path, stamp: dict) -> bool:
    """Whether `root` holds the dataset with the parameters of `stamp`."""
    if (root / _STAMP).is_file():
        found = json.loads((root / _STAMP).read_text())
        other = [k for k in stamp if found.get(k) != stamp[k]]
        if not other:
            return True
        differences = ', '.join(
            f'{key} {found.get(key)} instead of {stamp[key]}' for key in other
        )
        raise ValueError(
            f'root {root} holds shapes with {differences}; give another root '
            'or delete that folder'
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f'root {root} exists and is not a shapes dataset (it has no '
            f'{_STAMP}); give another root or delete it'
        )
    return False


@contextlib.contextmanager
def _folder_beside(root: Path) -> Iterator[Path]:
    """A new folder on the same disk, deleted unless it was renamed."""
    work = tempfile.mkdtemp(prefix=f'.{root.name}.', dir=root.parent)
    Path(work).chmod(0o755)  # mkdtemp gives 0o700
    try:
        yield Path(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_split(
    root: Path,
    split: str,
    count: int,
    image_size: tuple[int, int],
    seed: tuple[int, int],
) -> None:
    images: list[dict] = []
    annotations: list[dict] = []
    for index in range(count):
        rng = np.random.default_rng([*seed, index])
        image, objects = draw_scene(rng, image_size, scene_of(index))
        file_name = f'{split}_{index:05d}.jpg'
        file = str(root / 'images' / file_name)
        if not cv2.imwrite(file, image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise OSError(f'cannot write {file}')
        width, height = image_size
        images.append(
            dict(id=index + 1, file_name=file_name, width=width, height=height)
        )
        for shape in objects:
            annotation = to_coco(shape)
            annotation.update(id=len(annotations) + 1, image_id=index + 1)
            annotations.append(annotation)
    content = dict(
        info=dict(description=f'shapes, {split} split, seed {seed[0]}'),
        images=images,
        annotations=annotations,
        categories=[
            dict(id=i + 1, name=name, supercategory='shape')
            for i, name in enumerate(SHAPES_CLASSES)
        ],
    )
    path = root / 'annotations' / f'{split}.json'
    path.write_text(json.dumps(content))


def scene_of(index: int) -> str:
    """The scene of image `index` of a split, see `draw_scene`."""
    if index % 24 == 7:
        return 'empty'
    return 'crowd' if index % 12 == 3 else 'scattered'


def to_coco(shape: ShapeObject) -> dict:
    """The annotation of an object, without ``id`` and ``image_id``."""
    segmentation = rle.encode(np.asfortranarray(shape.mask, np.uint8))
    segmentation['counts'] = segmentation['counts'].decode()
    return dict(
        category_id=shape.label + 1,
        bbox=_xywh(shape.box),
        area=int(np.count_nonzero(shape.mask)),
        segmentation=segmentation,
        iscrowd=0,
        full_bbox=_xywh(shape.full_box),
        extreme_points=[list(point) for point in shape.extreme_points],
        visible_fraction=round(shape.visible_fraction, 4),
    )


def _xywh(box: tuple[int, int, int, int]) -> list[int]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
