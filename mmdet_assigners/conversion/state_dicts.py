"""State dicts of official code: read, rename, compare with our model."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor

from ..utils import get_config

State = dict[str, Tensor]
Rules = Sequence[tuple[str, str | None]]


def state_dict_of(content: Mapping[str, Any]) -> State:
    """The tensors of a checkpoint, without the prefix of a DDP wrapper.

    Raises:
        ValueError: It holds something else.
    """
    state = content.get('state_dict', content.get('model', content))
    if not isinstance(state, Mapping):
        state = content
    wrong = [n for n, value in state.items() if not isinstance(value, Tensor)]
    if wrong or not state:
        raise ValueError(
            f'expected a state dict of tensors, got the keys {_some(state)}'
        )
    return {name.removeprefix('module.'): t for name, t in state.items()}


def rename(state: Mapping[str, Tensor], rules: Rules) -> State:
    r"""Rename every key by the first rule that matches all of it.

    Args:
        state: Official state dict, tensors (...) by name.
        rules: Pairs of a regular expression and our name (``\1`` is its
            first group), or None for what a model of ours does not store.

    Raises:
        ValueError: A key without a rule, or two keys with one new name.
    """
    renamed: State = {}
    unknown = []
    for name, value in state.items():
        matches = (
            (re.fullmatch(pattern, name), new) for pattern, new in rules
        )
        match, template = next((m for m in matches if m[0]), (None, ''))
        if match is None:
            unknown.append(name)
        if match is None or template is None:
            continue
        new = match.expand(template)
        if new in renamed:
            raise ValueError(f'{name} and another key both become {new}')
        renamed[new] = value
    if unknown:
        raise ValueError(
            f'{len(unknown)} keys are unknown: {_some(unknown)}; is this a '
            'checkpoint of this method?'
        )
    return renamed


def check_state(
    state: Mapping[str, Tensor], config: str, part: str | None = None
) -> None:
    """Compare names and shapes with the model of a config.

    Args:
        state: Converted state dict, tensors (...) by name.
        config: Name or path of the config.
        part: Part of the model that the state dict is of, such as
            ``'backbone'``; by default the model.

    Raises:
        ValueError: Names the missing, the superfluous and the misshapen keys.
    """
    init_default_scope('mmdet')
    cfg = get_config(config)
    with torch.device('meta'):
        expected = MODELS.build(
            cfg.model[part] if part else cfg.model
        ).state_dict()
    missing = [
        name
        for name in expected
        if name not in state and not name.endswith('num_batches_tracked')
    ]
    extra = [name for name in state if name not in expected]
    shapes = [
        f'{name} {tuple(value.shape)}, not {tuple(expected[name].shape)}'
        for name, value in state.items()
        if name in expected and value.shape != expected[name].shape
    ]
    problems = [
        f'{len(names)} {text}: {_some(names)}'
        for text, names in (
            ('missing', missing),
            ('not of this model', extra),
            ('of another shape', shapes),
        )
        if names
    ]
    if problems:
        raise ValueError(
            f'the checkpoint does not fit {config}: {"; ".join(problems)}'
        )


def _some(names: Any, limit: int = 5) -> str:
    names = list(names)
    rest = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + rest
