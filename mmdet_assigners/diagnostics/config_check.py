"""Checks of the model that a config describes, without training it."""

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..utils import type_name, walk_config
from .checkpoints import CheckpointError, check_weights
from .data_check import trained_classes
from .problem import Problem

# Their classes are not those of the dataset.
_NOT_HEADS = ('backbone', 'rpn_head')


def check_num_classes(cfg: Config) -> list[Problem]:
    """Compare ``num_classes`` of every head with the training data."""
    classes = trained_classes(cfg)
    if classes is None:
        return []
    count = len(classes)
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
        cls, name = backbone.get('type'), type_name(backbone)
        cls = MODELS.get(cls) if isinstance(cls, str) else cls
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
        check_weights(MODELS.build(cfg.model), path, trained_classes(cfg))
    except CheckpointError as error:
        return [error.problem]
    return []
