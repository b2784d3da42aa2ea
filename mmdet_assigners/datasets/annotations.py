"""COCO annotation files, read and checked in one place."""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

_LISTS = ('images', 'annotations', 'categories')
# Keys that mmdet's CocoDataset reads of every record, and their types.
_KEYS: dict[str, dict[str, tuple[type | Any, ...]]] = {
    'images': dict(
        id=(int, str), file_name=(str,), width=(Real,), height=(Real,)
    ),
    'annotations': dict(
        id=(int, str),
        image_id=(int, str),
        category_id=(int, str),
        bbox=(list,),
        area=(Real,),
    ),
    'categories': dict(id=(int, str), name=(str,)),
}

_POSITIVE = dict(images=('width', 'height'), annotations=(), categories=())


class AnnotationError(ValueError):
    """An annotation file that mmdet can't use; one line names the record."""


def read_annotations(path: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Read a COCO annotation file and check what mmdet reads of it.

    Args:
        path: The file, JSON in UTF-8.

    Returns:
        dict: ``images``, ``annotations``, ``categories``, lists of dicts as
        in the file.

    Raises:
        FileNotFoundError: No such file.
        AnnotationError: It isn't in COCO format: a key is missing or of
            another type, an id occurs twice or refers to no image, a number
            is not finite, a size of an image not positive.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'there is no annotation file {path}')
    content = _parse(path)
    if not isinstance(content, dict):
        raise AnnotationError(
            f'{path} is not a COCO annotation file: it holds a '
            f'{type(content).__name__}, expected an object with {_LISTS}'
        )
    for key in _LISTS:
        if key not in content:
            raise AnnotationError(
                f'{path} is not a COCO annotation file: it has no {key!r}'
            )
        if not isinstance(content[key], list):
            raise AnnotationError(
                f'{path}: {key!r} is a {type(content[key]).__name__}, '
                'expected a list'
            )
        _check_records(path, key, content[key])
    if not content['images']:
        raise AnnotationError(f'{path} lists no images')
    if not content['categories']:
        raise AnnotationError(f'{path} has no categories, expected some')
    _check_unique(path, 'categories', 'name', content['categories'])
    _check_references(path, content)
    return content


def reads_coco(dataset: dict[str, Any]) -> bool:
    """Whether a dataset reads COCO annotation files as CocoDataset does.

    Args:
        dataset: Config of the dataset.
    """
    cls = dataset['type']
    cls = DATASETS.get(cls) if isinstance(cls, str) else cls
    read = getattr(cls, 'load_data_list', None)
    return read is CocoDataset.load_data_list


def check_evaluable(path: str | Path, annotations: Iterable[dict]) -> None:
    """Check what only the evaluation reads of the annotations.

    Raises:
        AnnotationError: An annotation has no ``iscrowd``; training would
            end with a KeyError at its first evaluation.
    """
    lacking = [one for one in annotations if 'iscrowd' not in one]
    if lacking:
        raise AnnotationError(
            f"{path}: {len(lacking)} annotations have no 'iscrowd' (first id "
            f'{lacking[0]["id"]}), which the evaluation reads, expected 0 or 1'
        )


def check_masks(path: str | Path, annotations: list[dict]) -> None:
    """Check that every annotation has a segmentation.

    Raises:
        AnnotationError: Some have none, which the line counts, or one is
            neither polygons nor run lengths.
    """
    lacking = [one for one in annotations if not one.get('segmentation')]
    for one in annotations:
        mask = one.get('segmentation')
        polygons = isinstance(mask, list) and all(
            isinstance(polygon, list) for polygon in mask
        )
        encoded = isinstance(mask, dict) and {'counts', 'size'} <= mask.keys()
        if mask and not polygons and not encoded:
            raise AnnotationError(
                f"{path}: 'segmentation' of id {one['id']!r} is "
                f'{str(mask)[:40]}, expected polygons or counts and size'
            )
    if lacking:
        raise AnnotationError(
            f'{path}: {len(lacking)} of {len(annotations)} annotations have '
            f'no segmentation (first id {lacking[0]["id"]}), but the config '
            'trains masks (with_mask=True); use other data or a config '
            'without masks'
        )


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except UnicodeDecodeError as error:
        raise AnnotationError(f'{path} is not UTF-8: {error}') from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(f'{path} is not valid JSON: {error}') from error


def _check_records(path: Path, key: str, records: list) -> None:
    for index, record in enumerate(records):
        where = f'{path}: {key}[{index}]'
        if not isinstance(record, dict):
            raise AnnotationError(
                f'{where} is a {type(record).__name__}, expected an object'
            )
        for name, types in _KEYS[key].items():
            if name not in record:
                raise AnnotationError(f'{where} has no {name!r}')
            value = record[name]
            if not isinstance(value, types) or isinstance(value, bool):
                expected = ' or '.join(one.__name__ for one in types)
                raise AnnotationError(
                    f'{where}: {name!r} is {value!r}, expected {expected}'
                )
        for name in _POSITIVE[key]:
            if not _is_finite(record[name]) or record[name] <= 0:
                raise AnnotationError(
                    f'{where}: {name!r} is {record[name]!r}, expected a '
                    'positive number'
                )
        if key == 'annotations':
            _check_annotation(where, record)
    _check_unique(path, key, 'id', records)


def _is_finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    largest = sys.float_info.max
    return isinstance(value, int | float) and -largest <= value <= largest


def _check_annotation(where: str, record: dict[str, Any]) -> None:
    if record.get('iscrowd', 0) not in (0, 1):
        raise AnnotationError(
            f"{where}: 'iscrowd' is {record['iscrowd']!r}, expected 0 or 1"
        )
    if not _is_finite(record['area']):
        raise AnnotationError(
            f"{where}: 'area' is {record['area']!r}, expected a finite number"
        )
    box = record['bbox']
    if len(box) != 4 or not all(map(_is_finite, box)):
        raise AnnotationError(
            f"{where}: 'bbox' is {box!r}, expected [x, y, width, height], "
            'four finite numbers'
        )


def _check_unique(path: Path, key: str, name: str, records: list) -> None:
    counts = Counter(record[name] for record in records)
    twice = [value for value, count in counts.items() if count > 1]
    if twice:
        raise AnnotationError(
            f'{path}: {len(twice)} {name}s of {key} occur several times, '
            f'first {twice[0]!r}, expected different ones'
        )


def _check_references(path: Path, content: dict[str, list]) -> None:
    images = {image['id'] for image in content['images']}
    for index, record in enumerate(content['annotations']):
        if record['image_id'] not in images:
            raise AnnotationError(
                f"{path}: annotations[{index}]: 'image_id' is "
                f'{record["image_id"]!r}, which is the id of no image'
            )
