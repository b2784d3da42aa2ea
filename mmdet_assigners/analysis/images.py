"""One image with its objects, as a detector of a config sees it."""

import contextlib
import copy
import difflib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmcv
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import MMLogger
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..datasets.roots import read_annotations
from ..small_scale import drop_pretrained


def find_image(
    ann_file: str | Path,
    img: str | Path | None = None,
    img_dir: str | Path = '',
    index: int = 0,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Look an image up in a COCO annotation file.

    Args:
        ann_file: COCO annotation file.
        img: Path of the image; its file name is looked up.
        img_dir: Folder of the images, where ``img`` is not given.
        index: Which image of the file, where ``img`` is not given.

    Returns:
        The record of the image, as mmdet's ``CocoDataset`` gives it, and
        the class names.

    Raises:
        FileNotFoundError: No such annotation file or image.
        IndexError: ``index`` is too large.
        ValueError: The annotation file doesn't list the image.
    """
    if not Path(ann_file).is_file():
        raise FileNotFoundError(f'there is no annotation file {ann_file}')
    if img is not None and not Path(img).is_file():
        raise FileNotFoundError(f'there is no image {img}')
    content = read_annotations(Path(ann_file))
    dataset, classes = _dataset(ann_file, img_dir)
    if img is None:
        if not 0 <= index < len(dataset):
            raise IndexError(
                f'index {index}: {ann_file} has {len(dataset)} images'
            )
        info = dataset.get_data_info(index)
        if not Path(info['img_path']).is_file():
            raise FileNotFoundError(f'there is no image {info["img_path"]}')
        return info, classes
    name = Path(img).name
    names = [Path(entry['file_name']).name for entry in content['images']]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f'; it has {", ".join(near)}' if near else ''
        raise ValueError(f'{ann_file} has no annotations of {name}{hint}')
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    info = next(i for i in infos if Path(i['img_path']).name == name)
    return info | dict(img_path=str(img)), classes


def read_images(
    ann_file: str | Path, img_dir: str | Path, limit: int = 0
) -> Iterator[dict[str, Any]]:
    """The records of the images of an annotation file, in its order.

    Args:
        ann_file: COCO annotation file.
        img_dir: Folder of the images.
        limit: Only the first ones; 0 means all.

    Raises:
        FileNotFoundError: No such annotation file.
    """
    if not Path(ann_file).is_file():
        raise FileNotFoundError(f'there is no annotation file {ann_file}')
    dataset, _ = _dataset(ann_file, img_dir)
    count = min(limit, len(dataset)) if limit else len(dataset)
    for index in range(count):
        yield dataset.get_data_info(index)


def _dataset(
    ann_file: str | Path, img_dir: str | Path
) -> tuple[CocoDataset, tuple[str, ...]]:
    """The dataset and its class names."""
    content = read_annotations(Path(ann_file))
    classes = tuple(c['name'] for c in content['categories'])
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools chatters
        dataset = CocoDataset(
            ann_file=str(ann_file),
            data_prefix=dict(img=str(img_dir)),
            metainfo=dict(classes=classes),
            test_mode=True,  # keeps images without objects
            pipeline=[],
        )
    return dataset, classes


def load_sample(cfg: Config, info: dict[str, Any]) -> dict[str, Any]:
    """Load an image with the test pipeline of a config.

    The pipeline's resize also scales the objects (mmdet loads them after it,
    because it evaluates in the scale of the file), so everything downstream
    is in px of the network's input.

    Args:
        cfg: Config with a ``test_dataloader``.
        info: Record of the image, see :func:`find_image`.

    Returns:
        A batch of one: ``inputs`` and ``data_samples``.

    Raises:
        ValueError: The file is no image.
    """
    steps = [
        step
        for step in cfg.test_dataloader.dataset.pipeline
        if step['type'] != 'LoadAnnotations'
    ]
    steps.insert(1, dict(type='LoadAnnotations', with_bbox=True))
    pipeline = Compose([TRANSFORMS.build(copy.deepcopy(s)) for s in steps])
    if mmcv.imread(info['img_path']) is None:
        raise ValueError(f'{info["img_path"]} cannot be read as an image')
    return pseudo_collate([pipeline(copy.deepcopy(info))])


def build_model(
    cfg: Config, checkpoint: str | Path | None = None, seed: int = 0
) -> nn.Module:
    """Build the detector of a config, without pre-trained weights.

    It is in training mode, as when labels are assigned; with a checkpoint,
    batch normalization uses the statistics of the checkpoint.

    Args:
        cfg: Config with a ``model``.
        checkpoint: File with its weights; random weights if None.
        seed: For random weights.

    Raises:
        ValueError: The checkpoint doesn't fit.
    """
    torch.manual_seed(seed)
    model_cfg = copy.deepcopy(cfg.model)
    drop_pretrained(model_cfg)
    model = MODELS.build(model_cfg)
    model.train()
    if checkpoint is None:
        with _quiet():
            model.init_weights()
        return model
    from ..diagnostics.checkpoints import check_weights, load

    check_weights(model, checkpoint)
    content = load(checkpoint)
    model.load_state_dict(content.get('state_dict', content), strict=False)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence mmengine, which lists how each parameter was initialized."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
