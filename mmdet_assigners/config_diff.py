"""Differences between two parsed configs, key by key."""

from typing import Any, NamedTuple

_MISSING: Any = object()


class Change(NamedTuple):
    """What became of one key: ``old`` or ``new`` is None where absent."""

    kind: str  # 'changed', 'added' or 'removed'
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
    """``old`` with a dict made a list of one where ``new`` has a list.

    A neck that becomes ``[neck, another]`` then only gains the other one.
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
    """Lists and tuples say the same in a config."""
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
