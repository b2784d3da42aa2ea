"""Checks of the data that a config names: files, images, objects, classes.

They find what mmdet reports late or not at all: objects that it drops, class
names that are not in the annotation file, images that can't be read.
"""

import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.registry import DATASETS
from mmengine.config import Config
from PIL import Image, ImageOps

from ..datasets.annotations import (
    AnnotationError,
    check_evaluable,
    read_annotations,
    reads_coco,
)
from ..datasets.roots import Split
from ..utils import leaf_datasets, walk_config
from .problem import Problem

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_MAX_NAMES = 5000
_MAX_IMAGES = 100
# COCO itself has objects that mmdet drops, 1 of 30 000
_MINOR_PART = 0.01


class DatasetNode(NamedTuple):
    """One annotation file that a config names.

    Attributes:
        key: Its place in the config, e.g. ``train_dataloader.dataset``.
        node: The config of the dataset.
        ann_file: Path of the annotation file.
        img_dir: Folder that its ``file_name`` entries are relative to.
    """

    key: str
    node: dict[str, Any]
    ann_file: Path
    img_dir: Path


def dataset_nodes(cfg: Config, *loaders: str) -> Iterator[DatasetNode]:
    """The annotation files of data loaders, also inside dataset wrappers.

    Args:
        cfg: The config.
        *loaders: Keys of the loaders, by default of all three.
    """
    for loader in loaders or _LOADERS:
        for key, node in leaf_datasets(cfg.get(loader), loader):
            if node.get('ann_file'):
                root = Path(node.get('data_root') or '')
                prefix = (node.get('data_prefix') or {}).get('img', '')
                ann_file = root / node['ann_file']
                yield DatasetNode(key, node, ann_file, root / prefix)


def check_files(cfg: Config, *loaders: str) -> list[Problem]:
    """Find annotation files and image folders that can't be used.

    Args:
        cfg: The config.
        *loaders: Keys of the loaders, by default of all three.
    """
    found: list[Problem] = []
    for data in dataset_nodes(cfg, *loaders):
        found += _missing_files(data) or _check_format(data)
    _read.cache_clear()  # the training that follows needs the memory
    return list(dict.fromkeys(found))


def check_data(cfg: Config) -> list[Problem]:
    """Check files, images, objects and classes of all datasets."""
    found: list[Problem] = []
    for data in dataset_nodes(cfg):
        broken = _missing_files(data) or _check_format(data)
        found += broken
        if not broken and reads_coco(data.node):
            found += _check_names(data) or _check_images(data)
            found += _check_classes(data) or _check_objects(data)
    for name in ('val_evaluator', 'test_evaluator'):
        for key, node in walk_config(cfg.get(name), name):
            ann_file = node.get('ann_file')
            if ann_file and not Path(ann_file).is_file():
                found.append(
                    Problem(
                        f'{key}: there is no annotation file {ann_file}',
                        f'--cfg-options {key}.ann_file=FILE, or --data ROOT',
                    )
                )
    return _merge_equal(found)


def trained_classes(cfg: Config) -> tuple[str, ...] | None:
    """Names of the classes of the training data, None if not known."""
    for data in dataset_nodes(cfg, 'train_dataloader'):
        classes = _classes_of(data)
        if classes:
            return classes
    return None


def config_split(cfg: Config, name: str) -> Split:
    """One split of the data that a config names.

    Args:
        cfg: The config; in several concatenated datasets the first counts.
        name: ``'train'`` or ``'val'``.

    Raises:
        ValueError: The config has no such data in COCO format.
    """
    loaders = ['train_dataloader']
    if name == 'val':
        loaders = ['val_dataloader', 'test_dataloader']
    for data in dataset_nodes(cfg, *loaders):
        for problem in _missing_files(data) or _check_format(data):
            raise ValueError(problem.what)
        classes = _classes_of(data) if reads_coco(data.node) else None
        if classes:
            return Split(data.ann_file, data.img_dir, classes)
    raise ValueError(
        f'no {loaders[0]} of the config reads annotations in COCO format'
    )


def _classes_of(data: DatasetNode) -> tuple[str, ...] | None:
    """The annotated classes, in the config's choice if that fits them."""
    names, annotated = _class_names(data.node), _annotated_names(data)
    if annotated is None or (names and set(names) <= set(annotated)):
        return names
    return annotated


def _merge_equal(found: list[Problem]) -> list[Problem]:
    """Validation and test set are often the same: one line for both."""
    seen: dict[tuple[str, str], Problem] = {}
    for problem in found:
        what = problem.what.partition(': ')[2] or problem.what
        seen.setdefault((what, problem.fix), problem)
    return list(seen.values())


def _missing_files(data: DatasetNode) -> list[Problem]:
    if not data.ann_file.is_file():
        return [
            Problem(
                f'{data.key}: there is no annotation file {data.ann_file}',
                f'--cfg-options {data.key}.data_root=FOLDER, or --data ROOT',
            )
        ]
    if not data.img_dir.is_dir():
        return [
            Problem(
                f'{data.key}: there is no image folder {data.img_dir}',
                f'--cfg-options {data.key}.data_prefix.img=FOLDER',
            )
        ]
    return []


def _check_format(data: DatasetNode) -> list[Problem]:
    """Find annotation files that mmdet's CocoDataset can't read."""
    if not reads_coco(data.node):
        return []
    try:
        content = _read(data.ann_file)
        if not data.key.startswith('train_'):
            check_evaluable(data.ann_file, content['annotations'])
    except AnnotationError as error:
        return [
            Problem(
                str(error),
                'correct the file, or name another one with '
                f'--cfg-options {data.key}.ann_file=FILE',
            )
        ]
    return []


def _check_names(data: DatasetNode) -> list[Problem]:
    """Find images that are listed and not there."""
    names = [image['file_name'] for image in _read(data.ann_file)['images']]
    names = names[:: -(-len(names) // _MAX_NAMES)]
    missing = [name for name in names if not (data.img_dir / name).is_file()]
    if missing:
        return [
            Problem(
                f'{data.key}: {len(missing)} of {len(names)} images are '
                f'missing, first {data.img_dir / missing[0]}',
                f'--cfg-options {data.key}.data_prefix.img=FOLDER',
            )
        ]
    return []


def _check_images(data: DatasetNode) -> list[Problem]:
    """Decode a sample of the images and compare their sizes."""
    images = _read(data.ann_file)['images']
    images = images[:: -(-len(images) // _MAX_IMAGES)]
    broken, turned = [], []
    for image in images:
        path = data.img_dir / image['file_name']
        try:
            size = _decoded_size(path)
        except (OSError, SyntaxError, ValueError) as error:
            broken.append(f'{path} ({error})')
            continue
        listed = (image['width'], image['height'])
        if size != listed:
            turned.append(f'{path} is {_by(size)}, listed as {_by(listed)}')
    found = []
    if broken:
        found.append(
            Problem(
                f'{data.key}: {len(broken)} of {len(images)} decoded images '
                f"can't be read, first {broken[0]}",
                'replace them or remove them from the annotation file',
            )
        )
    if turned:
        found.append(
            Problem(
                f'{data.key}: {len(turned)} of {len(images)} decoded images '
                f'have another size than {data.ann_file} says, first '
                f'{turned[0]} (mmdet applies the EXIF orientation)',
                'write the sizes and boxes of the images as they are shown, '
                'or remove the orientation from the files',
            )
        )
    return found


def _decoded_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as mmdet sees it, after decoding it."""
    with Image.open(path) as image:
        image.load()  # an error if it is truncated
        width, height = ImageOps.exif_transpose(image).size
    return width, height


def _by(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def _check_objects(data: DatasetNode) -> list[Problem]:
    """Count the objects that mmdet drops without a word."""
    content = _read(data.ann_file)
    known = {category['id'] for category in content['categories']}
    sizes = {
        image['id']: (image['width'], image['height'])
        for image in content['images']
    }
    dropped: Counter[str] = Counter()
    unknown = 'a category_id that is not in categories'
    for one in content['annotations']:
        x, y, width, height = one['bbox']
        right, bottom = sizes[one['image_id']]
        if one['category_id'] not in known:
            dropped[unknown] += 1
        elif width < 1 or height < 1:
            dropped['boxes narrower than a pixel'] += 1
        elif one['area'] <= 0:
            dropped['area 0'] += 1
        elif min(x + width, right) <= max(x, 0) or min(
            y + height, bottom
        ) <= max(y, 0):
            dropped['boxes outside the image'] += 1
    count, total = len(content['annotations']), dropped.total()
    if not dropped:
        return []
    reasons = ', '.join(f'{n} {reason}' for reason, n in dropped.items())
    return [
        Problem(
            f'{data.key}: mmdet drops {total} of {count} objects of '
            f'{data.ann_file} silently ({reasons})',
            'correct these annotations or remove them',
            minor=not dropped[unknown] and total <= _MINOR_PART * count,
        )
    ]


def _check_classes(data: DatasetNode) -> list[Problem]:
    """Compare the class names of the config with the annotated ones."""
    given = (data.node.get('metainfo') or {}).get('classes')
    if isinstance(given, str) and not Path(given).is_file():
        return [
            Problem(
                f'{data.key}: metainfo.classes is the string {given!r}, which '
                'mmdet takes for the name of a file of names',
                f'a tuple of one name needs a comma: classes=({given!r},)',
            )
        ]
    names, annotated = _class_names(data.node), _annotated_names(data)
    if annotated is None or names is None:
        return []
    absent = [name for name in names if name not in annotated]
    if not absent:
        in_order = tuple(name for name in annotated if name in names)
        if in_order == names:
            return []
        return [
            Problem(
                f'{data.key}: the classes of the config ({_few(names)}) are '
                f'in another order than in {data.ann_file} ({_few(in_order)})'
                ', which numbers the labels: names would be swapped',
                _set_classes(data.key, in_order),
            )
        ]
    return [
        Problem(
            f'{data.key}: {len(absent)} of the {len(names)} classes of the '
            f'config ({_few(absent)}) are not in {data.ann_file}, which has '
            f'{_few(annotated)}; mmdet drops their objects silently',
            _set_classes(data.key, annotated),
        )
    ]


def _set_classes(key: str, names: tuple[str, ...]) -> str:
    if any(' ' in name for name in names):
        # mmengine removes spaces from the values of --cfg-options
        return f'in the config: {key}.metainfo = dict(classes={names!r})'
    listed = ','.join(names)
    return f'--cfg-options "{key}.metainfo.classes=[{listed}]"'


def _few(names: tuple[str, ...] | list[str]) -> str:
    more = f', ... {len(names)} in all' if len(names) > 4 else ''
    return ', '.join(names[:4]) + more


def _class_names(node: dict[str, Any]) -> tuple[str, ...] | None:
    """Classes that mmdet will look for in the annotation file."""
    classes = (node.get('metainfo') or {}).get('classes')
    if classes is None:
        cls = node.get('type', '')
        cls = DATASETS.get(cls) if isinstance(cls, str) else cls
        classes = getattr(cls, 'METAINFO', {}).get('classes')
    if isinstance(classes, str):
        path = Path(classes)
        classes = path.read_text().split('\n') if path.is_file() else None
    return None if classes is None else tuple(classes)


def _annotated_names(data: DatasetNode) -> tuple[str, ...] | None:
    if not reads_coco(data.node):
        return None
    try:
        content = _read(data.ann_file)
    except (FileNotFoundError, AnnotationError):
        return None  # reported by check_files
    return tuple(category['name'] for category in content['categories'])


@functools.lru_cache(maxsize=4)
def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    return read_annotations(path)
