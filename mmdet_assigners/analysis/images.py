"""Images of a COCO-format dataset, and how a config's pipeline loads them.

An image is described by its record, the dict that ``get_data_info`` of mmdet's
``CocoDataset`` returns: ``img_path``, ``height``, ``width`` and ``instances``,
whose boxes are in px of the file.
"""

import contextlib
import copy
import difflib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from ..datasets.roots import Split
from ..utils import inference_pipeline, type_name


def read_images(split: Split, limit: int = 0) -> Iterator[dict[str, Any]]:
    """The records of the images of a split, in the order of its file.

    Args:
        split: Annotation file, image folder and classes.
        limit: Maximum number of images, 0: all.

    Yields:
        dict: One record per image, also of images without objects.
    """
    dataset = _dataset(split)
    for index in range(len(dataset))[: limit or None]:
        yield dataset.get_data_info(index)


def find_image(
    split: Split, img: str | Path | None = None, index: int = 0
) -> dict[str, Any]:
    """The record of one image, by its path or its index.

    Args:
        split: Annotation file, image folder and classes.
        img: Path of the image, anywhere; its file name is looked up.
        index: Index of the image in the file, if ``img`` is not given.

    Raises:
        FileNotFoundError: No such image file.
        IndexError: ``index`` is out of range.
        ValueError: The annotation file doesn't list the image.
    """
    dataset = _dataset(split)
    if img is None:
        if not 0 <= index < len(dataset):
            raise IndexError(
                f'index {index}: {split.ann_file} has {len(dataset)} images'
            )
        info = dataset.get_data_info(index)
        _check_file(info['img_path'])
        return info
    _check_file(img)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    name = Path(img).name
    found = [one for one in infos if Path(one['img_path']).name == name]
    if not found:
        names = [Path(one['img_path']).name for one in infos]
        near = difflib.get_close_matches(name, names)
        hint = f'; it has {", ".join(near)}' if near else ''
        raise ValueError(
            f'{split.ann_file} has no annotations of {name}{hint}'
        )
    # as much of the path as it takes to tell them apart
    common = [_common_end(img, one['img_path']) for one in found]
    if common.count(max(common)) > 1:
        raise ValueError(
            f'{split.ann_file} lists {len(found)} images {name}; give the '
            f'path of one, such as {found[0]["img_path"]}'
        )
    return found[common.index(max(common))] | dict(img_path=str(img))


def _common_end(one: str | Path, other: str | Path) -> int:
    """How many parts at the ends of two paths are equal."""
    pairs = zip(
        reversed(Path(one).absolute().parts),
        reversed(Path(other).absolute().parts),
        strict=False,
    )
    return sum(1 for _ in itertools.takewhile(lambda p: p[0] == p[1], pairs))


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no image {path}')


def _dataset(split: Split) -> CocoDataset:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        return CocoDataset(
            ann_file=str(split.ann_file),
            data_prefix=dict(img=str(split.img_dir)),
            metainfo=dict(classes=split.classes),
            test_mode=True,  # keeps images without objects
            pipeline=[],
        )


def ground_truths(info: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (G, 4) and labels (G,) of an image, without ignored regions.

    Args:
        info: Record of the image; the boxes are in px of the file.
    """
    objects = [i for i in info['instances'] if not i['ignore_flag']]
    boxes = np.array([i['bbox'] for i in objects], dtype=float).reshape(-1, 4)
    return boxes, np.array([i['bbox_label'] for i in objects], dtype=int)


def load_image(cfg: Config, info: dict[str, Any]) -> dict[str, Any]:
    """Load an image with the test pipeline of a config.

    mmdet loads annotations after the resize, because it evaluates in the
    scale of the file. Here they are loaded before it, so that boxes are in
    px of the network input.

    Args:
        cfg: Config whose pipeline loads it, see `inference_pipeline`.
        info: Record of the image.

    Returns:
        dict: A batch of one image: ``inputs``, [(3, H, W)], and
        ``data_samples``.

    Raises:
        ValueError: The file is not an image.
    """
    steps = [
        step
        for step in inference_pipeline(cfg)
        if type_name(step) != 'LoadAnnotations'
    ]
    steps.insert(1, dict(type='LoadAnnotations', with_bbox=True))
    pipeline = Compose([TRANSFORMS.build(copy.deepcopy(s)) for s in steps])
    if mmcv.imread(info['img_path']) is None:
        raise ValueError(f'{info["img_path"]} cannot be read as an image')
    return pseudo_collate([pipeline(copy.deepcopy(info))])
