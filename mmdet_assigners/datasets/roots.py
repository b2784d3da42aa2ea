"""Find the annotation files and images of a COCO-format dataset."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .annotations import check_masks, read_annotations

DATA_NAMES = ('shapes', 'bccd', 'coco128')
# Names of annotation files below the root, in the order of their search; the
# last is the layout of Roboflow's COCO exports.
_PATTERNS = (
    'annotations/{}*.json',
    'annotations/instances_{}*.json',
    'annotations/detection_{}*.json',
    '{}*/_annotations.coco.json',
)


@dataclass(frozen=True)
class Split:
    """One split of a dataset.

    Attributes:
        ann_file: COCO annotation file.
        img_dir: Folder that the ``file_name`` entries are relative to.
        classes: Category names in the order of the annotation file, which
            is the order of mmdet's labels.
    """

    ann_file: Path
    img_dir: Path
    classes: tuple[str, ...]


@dataclass(frozen=True)
class DataRoot:
    """Training and validation split of a dataset."""

    name: str
    train: Split
    val: Split


class DataFiles(NamedTuple):
    """A dataset that is given by its files, not by its root.

    Attributes:
        train: COCO annotation file of the training split.
        val: That of the validation split.
        images: Folder that the ``file_name`` entries of both are relative to.
    """

    train: str
    val: str
    images: str


def resolve_data(name: str | DataFiles, masks: bool = False) -> DataRoot:
    """Find a dataset by name, root folder or files.

    Args:
        name: ``shapes`` (generated on first use), ``bccd`` or ``coco128``
            (in ``data/<name>``), the root folder of any COCO-format dataset,
            or its files.
        masks: The annotation files must have segmentations; otherwise files
            without them are preferred.

    Raises:
        FileNotFoundError: No such dataset; the message names the expected
            files.
        ValueError: An annotation file isn't in COCO format, or lacks masks.
    """
    if isinstance(name, DataFiles):
        return _from_files(name, masks)
    root = Path(name)
    if name == 'shapes':
        from .shapes import generate_shapes

        root = generate_shapes(Path('data/shapes'))
    elif name in DATA_NAMES and not root.is_dir():
        root = Path('data') / name
    if not root.is_dir():
        near = difflib.get_close_matches(name, DATA_NAMES, n=1)
        guess = near and name not in DATA_NAMES
        hint = f' (did you mean {near[0]}?)' if guess else ''
        raise FileNotFoundError(
            f'data {name!r}{hint}: {root.absolute()} is not a folder; '
            f'expected one of {", ".join(DATA_NAMES)} or the root of a '
            'COCO-format dataset with an annotations/ folder'
        )
    return DataRoot(
        name=root.name,
        train=find_split(root, 'train', masks),
        val=find_split(root, 'val', masks),
    )


def find_split(root: Path, split: str, masks: bool = False) -> Split:
    """Find one split of a COCO-format dataset.

    Args:
        root: Folder of the dataset.
        split: ``train`` or ``val``.
        masks: See `resolve_data`.

    Raises:
        FileNotFoundError: No annotation file of the split, or no images.
        ValueError: See `resolve_data`.
    """
    patterns = [pattern.format(split) for pattern in _PATTERNS]
    candidates = [
        path
        for pattern in patterns
        for path in sorted(root.glob(pattern))
        # `train*` also matches trainval, which contains the other split
        if not path.stem.endswith('trainval')
    ]
    if not candidates:
        raise FileNotFoundError(
            f'no annotations of the {split} split: {root} has none of '
            f'{", ".join(patterns)}; name them with --train-ann, --val-ann '
            'and --images'
        )
    read = [(path, read_annotations(path)) for path in candidates]
    fits = [(p, a) for p, a in read if _has_masks(a) == masks]
    path, content = (fits or read)[0]
    if masks:
        check_masks(path, content['annotations'])
    return Split(
        ann_file=path.absolute(),
        img_dir=_image_folder(root, path, content, split).absolute(),
        classes=_classes(content),
    )


def _from_files(files: DataFiles, masks: bool) -> DataRoot:
    """The dataset of these files; its name is that of the image folder."""
    train, val = (
        load_split(ann_file, files.images, masks)
        for ann_file in (files.train, files.val)
    )
    return DataRoot(Path(files.images).resolve().name, train, val)


def load_split(
    ann_file: str | Path, img_dir: str | Path = '', masks: bool = False
) -> Split:
    """A split that is given by its annotation file.

    Args:
        ann_file: COCO annotation file.
        img_dir: Folder of the images.
        masks: See `resolve_data`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: See `resolve_data`.
    """
    content = read_annotations(ann_file)
    if masks:
        check_masks(ann_file, content['annotations'])
    return Split(
        Path(ann_file).absolute(),
        Path(img_dir).absolute(),
        _classes(content),
    )


def _classes(content: dict) -> tuple[str, ...]:
    return tuple(category['name'] for category in content['categories'])


def _has_masks(content: dict) -> bool:
    return any(one.get('segmentation') for one in content['annotations'])


def _image_folder(root: Path, ann: Path, content: dict, split: str) -> Path:
    file_name = content['images'][0]['file_name']
    stem = ann.stem.rpartition('_')[2]  # instances_train2017 -> train2017
    folders = [root / part for part in (stem, 'images', f'images/{stem}')]
    folders += [root / split, root / 'images' / split, root]
    if ann.parent.name != 'annotations':
        folders.insert(0, ann.parent)  # Roboflow: beside the images
    for folder in folders:
        if (folder / file_name).is_file():
            return folder
    looked = ', '.join(str(folder) for folder in dict.fromkeys(folders))
    raise FileNotFoundError(
        f'{ann} names the image {file_name!r}, which is in none of {looked}'
    )
