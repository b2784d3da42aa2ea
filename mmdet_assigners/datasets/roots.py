"""Find the annotation files and images of a COCO-format dataset."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

DATA_NAMES = ('shapes', 'bccd', 'coco128')
_SPLITS = {'train': 'train*', 'val': 'val*'}
_PREFIXES = ('', 'instances_', 'detection_')


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


def resolve_data(name: str, masks: bool = False) -> DataRoot:
    """Find a dataset by name or root folder.

    Args:
        name: ``shapes`` (generated on first use), ``bccd`` or ``coco128``
            (in ``data/<name>``), or the root folder of any COCO-format
            dataset.
        masks: The annotation files must have segmentations; otherwise files
            without them are preferred.

    Raises:
        FileNotFoundError: No such dataset; the message names the expected
            files.
        ValueError: An annotation file isn't in COCO format, or lacks masks.
    """
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
    folder = root / 'annotations'
    candidates = [
        path
        for prefix in _PREFIXES
        for path in sorted(folder.glob(f'{prefix}{_SPLITS[split]}.json'))
        # `train*` also matches trainval, which contains the other split
        if not path.stem.endswith('trainval')
    ]
    if not candidates:
        raise FileNotFoundError(
            f'no annotations of the {split} split: expected '
            f'{folder}/{{,instances_,detection_}}{_SPLITS[split]}.json'
        )
    read = [(path, read_annotations(path)) for path in candidates]
    fits = [(p, a) for p, a in read if _has_masks(a) == masks]
    path, content = (fits or read)[0]
    if masks and not fits and content['annotations']:
        raise ValueError(
            f'{path} has no segmentations, but the config trains masks '
            '(with_mask=True); use other data or a config without masks'
        )
    return Split(
        ann_file=path.absolute(),
        img_dir=_image_folder(root, path, content, split).absolute(),
        classes=_classes(content),
    )


def load_split(ann_file: str | Path, img_dir: str | Path = '') -> Split:
    """A split that is given by its annotation file.

    Args:
        ann_file: COCO annotation file.
        img_dir: Folder of the images.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file isn't in COCO format.
    """
    content = read_annotations(Path(ann_file))
    return Split(Path(ann_file), Path(img_dir), _classes(content))


def read_annotations(path: Path) -> dict:
    """Read a COCO annotation file.

    Returns:
        dict: ``images``, ``annotations``, ``categories``, lists of dicts as
        in the file.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file isn't in COCO format.
    """
    if not path.is_file():
        raise FileNotFoundError(f'there is no annotation file {path}')
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is not valid JSON: {error}') from error
    for key in ('images', 'annotations', 'categories'):
        if key not in content:
            raise ValueError(
                f'{path} is not a COCO annotation file: it has no {key!r}'
            )
    return content


def _classes(content: dict) -> tuple[str, ...]:
    return tuple(category['name'] for category in content['categories'])


def _has_masks(content: dict) -> bool:
    annotations = content['annotations']
    return bool(annotations) and bool(annotations[0].get('segmentation'))


def _image_folder(root: Path, ann: Path, content: dict, split: str) -> Path:
    if not content['images']:
        raise ValueError(f'{ann} lists no images')
    file_name = content['images'][0]['file_name']
    stem = ann.stem.rpartition('_')[2]  # instances_train2017 -> train2017
    folders = [root / part for part in (stem, 'images', f'images/{stem}')]
    folders += [root / split, root / 'images' / split, root]
    for folder in folders:
        if (folder / file_name).is_file():
            return folder
    looked = ', '.join(str(folder) for folder in dict.fromkeys(folders))
    raise FileNotFoundError(
        f'{ann} names the image {file_name!r}, which is in none of {looked}'
    )
