"""Checks of a config before training: files, classes, padding, one step.

They find what mmdet reports late or not at all: class names that are not in
the annotation file (their objects are dropped), heads with another number of
classes, missing images.
"""

import functools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from ..datasets.roots import read_annotations
from ..engine.hooks.train_progress_hook import followers
from ..utils import walk_config
from .checkpoints import CheckpointError, check_weights
from .problem import Problem

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_MAX_IMAGES = 5000
# Their classes are not those of the dataset.
_NOT_HEADS = ('backbone', 'rpn_head')


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
        for key, node in walk_config(cfg.get(loader), loader):
            if node.get('ann_file'):
                root = Path(node.get('data_root') or '')
                prefix = (node.get('data_prefix') or {}).get('img', '')
                ann_file = root / node['ann_file']
                yield DatasetNode(key, node, ann_file, root / prefix)


def check_files(cfg: Config, *loaders: str) -> list[Problem]:
    """Find annotation files and image folders that are missing.

    Args:
        cfg: The config.
        *loaders: Keys of the loaders, by default of all three.
    """
    nodes = dataset_nodes(cfg, *loaders)
    return [problem for data in nodes for problem in _missing_files(data)]


def check_data(cfg: Config) -> list[Problem]:
    """Check files, images and classes of every dataset of a config."""
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    found: list[Problem] = []
    for data in dataset_nodes(cfg):
        found += (
            _missing_files(data) or _check_images(data) or _check_classes(data)
        )
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
    return found + check_num_classes(cfg) + check_padding(cfg)


def check_num_classes(cfg: Config) -> list[Problem]:
    """Compare ``num_classes`` of every head with the training data."""
    sets = [
        names
        for data in dataset_nodes(cfg)
        if data.key.startswith('train_') and (names := _trained_names(data))
    ]
    if not sets:
        return []
    count = len(sets[0])
    return [
        Problem(
            f'{key}.num_classes is {node["num_classes"]}, but the training '
            f'data has {count} classes',
            f'--cfg-options {key}.num_classes={count}',
        )
        for key, node in walk_config(cfg.model, 'model')
        if 'num_classes' in node
        and not set(key.split('.')) & set(_NOT_HEADS)
        and node['num_classes'] != count
    ]


def check_padding(cfg: Config) -> list[Problem]:
    """Compare the padding of images with what the backbone takes.

    A class says so by an attribute ``size_divisor``.
    """
    found = []
    for key, node in walk_config(cfg.model, 'model'):
        backbone = node.get('backbone')
        if not isinstance(backbone, dict):
            continue
        name = backbone.get('type')
        cls = MODELS.get(name) if isinstance(name, str) else name
        needed = getattr(cls, 'size_divisor', 1)
        given = (node.get('data_preprocessor') or {}).get(
            'pad_size_divisor', 1
        )
        if given % needed:
            option = f'{key}.data_preprocessor.pad_size_divisor'
            found.append(
                Problem(
                    f'{option} is {given}, but {name} takes images whose '
                    f'sides are multiples of {needed}',
                    f'--cfg-options {option}={needed}',
                )
            )
    return found


def check_checkpoint(cfg: Config, path: str) -> list[Problem]:
    """Check that a checkpoint can be read and fits the model."""
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    try:
        check_weights(MODELS.build(cfg.model), path)
    except CheckpointError as error:
        return [error.problem]
    return []


class Step(NamedTuple):
    """Result of one dry training step.

    Attributes:
        losses: Value of every loss key.
        images: Number of images in the batch.
        seconds: Time of forward and backward.
        unused: Parameters without a gradient; distributed training refuses
            them without ``find_unused_parameters=True``.
        waiting: Classes of the modules that follow the progress of the
            training, if the config has no hook that tells them.
    """

    losses: dict[str, float]
    images: int
    seconds: float
    unused: list[str]
    waiting: list[str]

    @property
    def problems(self) -> list[Problem]:
        """Losses that are not finite, modules that miss their hook."""
        found = [
            Problem(
                f'{key} of the first batch is {value}',
                'look at the boxes of the batch: mim run mmdet browse_dataset',
            )
            for key, value in self.losses.items()
            if not math.isfinite(value)
        ]
        if self.waiting:
            found.append(
                Problem(
                    f'{", ".join(self.waiting)} must follow the progress of '
                    'the training, but custom_hooks has no TrainProgressHook '
                    "(a child's custom_hooks replace its parent's)",
                    "add dict(type='mmdet_assigners.TrainProgressHook')",
                )
            )
        return found


def dry_step(cfg: Config) -> Step:
    """Forward and backward of one training batch, without an update."""
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    loader = cfg.train_dataloader.to_dict()
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    model = MODELS.build(cfg.model).train()
    start = time.perf_counter()
    data = model.data_preprocessor(batch, training=True)
    total, log = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    seconds = time.perf_counter() - start
    unused = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    losses = {key: float(value.detach()) for key, value in log.items()}
    waiting = [] if _has_progress_hook(cfg) else followers(model)
    return Step(losses, len(data['data_samples']), seconds, unused, waiting)


def _has_progress_hook(cfg: Config) -> bool:
    return any(
        str(hook['type']).endswith('TrainProgressHook')
        for hook in cfg.get('custom_hooks') or []
    )


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


def _check_images(data: DatasetNode) -> list[Problem]:
    """Find broken annotation files and missing images."""
    if data.ann_file.suffix != '.json':
        return []  # not COCO format
    try:
        names = _read(data.ann_file).images
    except ValueError as error:
        return [
            Problem(
                str(error),
                'convert it to COCO format or name another one with '
                f'--cfg-options {data.key}.ann_file=FILE',
            )
        ]
    if not names:
        return [
            Problem(f'{data.ann_file} lists no images', 'name another dataset')
        ]
    names = names[:: max(1, len(names) // _MAX_IMAGES)]
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


def _check_classes(data: DatasetNode) -> list[Problem]:
    """Compare the class names of the config with the annotated ones."""
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
        dataset = DATASETS.get(node.get('type', ''))
        classes = getattr(dataset, 'METAINFO', {}).get('classes')
    if isinstance(classes, str):
        classes = Path(classes).read_text().split('\n')
    return None if classes is None else tuple(classes)


def _trained_names(data: DatasetNode) -> tuple[str, ...] | None:
    """The config's classes, or the annotated ones if they don't fit."""
    names, annotated = _class_names(data.node), _annotated_names(data)
    if annotated is None or (names and set(names) <= set(annotated)):
        return names
    return annotated


def _annotated_names(data: DatasetNode) -> tuple[str, ...] | None:
    if data.ann_file.suffix != '.json' or not data.ann_file.is_file():
        return None
    try:
        return _read(data.ann_file).classes
    except ValueError:
        return None  # reported by _check_images


class _Annotations(NamedTuple):
    images: tuple[str, ...]
    classes: tuple[str, ...]


@functools.lru_cache(maxsize=8)
def _read(path: Path) -> _Annotations:
    content = read_annotations(path)
    return _Annotations(
        tuple(image['file_name'] for image in content['images']),
        tuple(category['name'] for category in content['categories']),
    )
