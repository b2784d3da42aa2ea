"""Differences between parsed configs, key by key."""

import ast
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .utils import register_all_modules, resolve_config

_MISSING: Any = object()
# top-level keys that are read otherwise than as arguments of mmengine's
# Runner: by the Runner from its config, by mmdet's tools, by us
_READ_BY_OTHERS = {
    'activation_checkpointing',
    'auto_scale_lr',
    'backend_args',
    'compile',
    'custom_imports',
    'data_preprocessor',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'form',
    'mini',
    'model_wrapper_cfg',
    'small',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
}


class Change(NamedTuple):
    """The change of one key.

    Attributes:
        type: 'changed', 'added' or 'removed'.
        old: Value before; None if added.
        new: Value after; None if removed.
    """

    type: str
    old: Any
    new: Any


def flatten(node: Any, prefix: str = '') -> dict[str, Any]:
    """Leaves of nested dicts and lists of dicts by dotted key.

    ``{'a': [{'b': 1}]}`` becomes ``{'a.0.b': 1}``; empty containers and
    lists of plain values are leaves.
    """
    items: list[tuple[str, Any]]
    if isinstance(node, dict) and node:
        items = [(str(key), value) for key, value in node.items()]
    elif (
        isinstance(node, list | tuple)
        and node
        and all(isinstance(value, dict) for value in node)
    ):
        items = [(str(i), value) for i, value in enumerate(node)]
    else:
        return {prefix: node}
    leaves: dict[str, Any] = {}
    for key, value in items:
        leaves |= flatten(value, f'{prefix}.{key}' if prefix else key)
    return leaves


def align(old: Any, new: Any) -> Any:
    """``old``, with a dict put into a list where ``new`` has a list.

    The diff of a neck that becomes ``[neck, another]`` is then only the other
    one.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return {k: align(v, new.get(k)) for k, v in old.items()}
    if isinstance(old, dict) and isinstance(new, list | tuple):
        return [old]
    return old


def diff_dicts(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Change]:
    """Changes from one flat dict to another, in the order of their keys."""
    changes = {}
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key, _MISSING), new.get(key, _MISSING)
        if before is _MISSING:
            changes[key] = Change('added', None, after)
        elif after is _MISSING:
            changes[key] = Change('removed', before, None)
        elif _plain(before) != _plain(after):
            changes[key] = Change('changed', before, after)
    return changes


def _plain(value: Any) -> Any:
    """Lists and tuples mean the same in a config."""
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def diff_against_base(
    path: str | Path, bases: Sequence[str]
) -> dict[str, Change]:
    """Changes of a config file in the configs that it inherits from.

    Args:
        path: The config file.
        bases: Names or paths, merged in their order.

    Raises:
        FileNotFoundError: There is no such config.
    """
    from mmengine.config import Config

    register_all_modules()
    config = Config.fromfile(path)._cfg_dict.to_dict()
    old: dict[str, Any] = {}
    for base in bases:
        parent = Config.fromfile(resolve_config(base))._cfg_dict.to_dict()
        old |= flatten(align(parent, config))
    new = flatten(config)
    variables = _variables(config, old)
    for flat in (old, new):
        for key in list(flat):
            # mmengine's record of where a base came from
            scope = key.endswith('_scope_')
            if scope or key.partition('.')[0] in variables:
                del flat[key]
    return diff_dicts(old, new)


def keys_that_are_read() -> set[str]:
    """Top-level keys of a config that mean something."""
    from mmengine.runner import Runner

    return {*inspect.signature(Runner.__init__).parameters, *_READ_BY_OTHERS}


def _variables(config: dict[str, Any], old: dict[str, Any]) -> set[str]:
    """New top-level keys that nothing reads: values that files share."""
    inherited = {key.partition('.')[0] for key in old}
    return set(config) - keys_that_are_read() - inherited


def mmdet_bases(path: Path) -> list[str]:
    """The nearest ``mmdet::`` bases that a config file inherits from.

    Raises:
        FileNotFoundError: A base doesn't exist.
    """
    found: list[str] = []
    for base in _base_files(path):
        if base.startswith('mmdet::'):
            found.append(base)
        elif '::' in base:
            found += mmdet_bases(Path(resolve_config(base)))
        else:
            found += mmdet_bases(path.parent / base)
    return list(dict.fromkeys(found))


def _base_files(path: Path) -> list[str]:
    """What ``_base_`` of a file says; its value may be any expression."""
    import mmengine

    bases: str | list[str] = []
    if path.suffix != '.py':
        bases = mmengine.load(path).get('_base_', [])
    else:
        for statement in ast.parse(path.read_text('utf-8')).body:
            if (
                isinstance(statement, ast.Assign)
                and isinstance(statement.targets[0], ast.Name)
                and statement.targets[0].id == '_base_'
            ):
                code = ast.Expression(statement.value)
                # as mmengine does when it loads the file
                bases = eval(compile(code, str(path), 'eval'))
    return [bases] if isinstance(bases, str) else list(bases)
