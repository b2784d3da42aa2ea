"""Genotype files: what a search has found so far."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import write_json
from .ops import check_ops

PARTS = ('backbone', 'neck', 'head')
_LISTS = ('genotype', 'kept')


def read_genotype(path: str | Path) -> dict[str, Any]:
    """Read a genotype file.

    Args:
        path: Written by ``ArchDeriveHook``.

    Returns:
        dict: Name of a part -> ``genotype``, the operation of each of its
        layers, and ``kept``, those that step 1 keeps.

    Raises:
        ValueError: There is no such file, it is not complete, or it names an
            unknown operation.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no genotype file {path}')
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(
            f'{path} is no complete genotype file, expected JSON as '
            f'ArchDeriveHook writes it: {error}'
        ) from error
    for part in PARTS:
        for key in _LISTS:
            entry = content.get(part) if isinstance(content, Mapping) else None
            if not isinstance(entry, Mapping) or key not in entry:
                raise ValueError(
                    f'{path} is no complete genotype file: it has no '
                    f'{part}.{key}'
                )
            check_ops(entry[key], f'{part}.{key} in {path}')
    return content


def write_genotype(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a genotype file, all of it or nothing.

    Args:
        path: The file; it is replaced at once.
        content: As `read_genotype` returns it.
    """
    write_json(path, content)
