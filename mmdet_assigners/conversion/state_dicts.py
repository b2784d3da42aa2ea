"""Shared by the converters: read, rename, compare with our model, write."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor

from mmdet_assigners import get_config
from mmdet_assigners.diagnostics.checkpoints import load
from mmdet_assigners.files import replacing

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
        state: Official state dict.
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


def check_state(state: Mapping[str, Tensor], config: str) -> None:
    """Compare names and shapes with the model of a config.

    Args:
        state: Converted state dict.
        config: Name or path of the config.

    Raises:
        ValueError: Names the missing, the superfluous and the misshapen keys.
    """
    init_default_scope('mmdet')
    cfg = get_config(config)
    with torch.device('meta'):
        expected = MODELS.build(cfg.model).state_dict()
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


def save(state: State, path: str | Path, meta: Mapping[str, Any]) -> None:
    """Write a checkpoint for mmengine: all of it or nothing."""
    with replacing(path) as part:
        torch.save(dict(state_dict=state, meta=dict(meta)), part)


def main(
    description: str,
    convert: Callable[[State], State],
    guess_config: Callable[[State], str],
    argv: Sequence[str] | None = None,
    read: Callable[[str], dict[str, Any]] = load,
) -> int:
    """The command line of a converter.

    Args:
        description: First line of ``--help``.
        convert: Official state dict -> ours.
        guess_config: Our state dict -> the config that it belongs to.
        argv: Arguments, those of the process by default.
        read: Reads the file: a state dict, by itself or as ``state_dict`` or
            ``model``. By default a file of PyTorch.

    Returns:
        Exit code: 0 written, 1 refused.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('official', help='checkpoint of the official code')
    parser.add_argument('out', help='file to write, for mmdet 3.x')
    parser.add_argument(
        '--config', help='config to compare with (guessed by default)'
    )
    args = parser.parse_args(argv)
    try:
        content = read(args.official)
        state = convert(state_dict_of(content))
        config = args.config or guess_config(state)
        check_state(state, config)
        meta: dict[str, Any] = dict(
            converted_from=Path(args.official).name, config=config
        )
        classes = (content.get('meta') or {}).get('CLASSES')
        if classes:
            meta['dataset_meta'] = dict(classes=tuple(classes))
        save(state, args.out, meta)
    except (ValueError, OSError) as error:
        print(f'not converted: {error}', file=sys.stderr)
        return 1
    print(f'{len(state)} tensors written to {args.out}; config: {config}')
    return 0


def _some(names: Any, limit: int = 5) -> str:
    names = list(names)
    rest = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + rest
