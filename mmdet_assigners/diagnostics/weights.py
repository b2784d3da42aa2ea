"""The pretrained weights that a config names."""

from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

from mmengine.config import Config

from ..compat import WEIGHTS_SCHEMES, WeightsSource, find_weights
from ..utils import walk_config
from .checkpoints import load

_TIMEOUT = 10  # seconds
_FIELDS = ('checkpoint', 'pretrained')


def names_of_weights(cfg: Config) -> list[str]:
    """The different weights that a config names, in order."""
    return list(dict.fromkeys(node[field] for node, field in _nodes(cfg)))


def describe_weights(name: str) -> str:
    """One line: where weights come from, and their size.

    Nothing is downloaded; the server is asked whether it has the file.

    Args:
        name: As a config names them, see
            :func:`mmdet_assigners.compat.find_weights`.

    Raises:
        mmdet_assigners.compat.WeightsError: They can't be loaded.
    """
    source = find_weights(name)
    try:
        size = _size(source)
    except (OSError, HTTPException) as error:
        raise source.unavailable(error) from error
    text = f'{name} from {source.file or source.location}'
    if source.instead_of and not source.file:
        text += f' (instead of {source.instead_of})'
    return f'{text}, {size / 1e6:.1f} MB' if size else text


def require_local_weights(cfg: Config) -> None:
    """Refuse a config that names a file of weights which is not there.

    Raises:
        mmdet_assigners.compat.WeightsError: The first one.
    """
    for name in names_of_weights(cfg):
        source = find_weights(name)
        if source.file and not source.file.is_file():
            raise source.unavailable(FileNotFoundError('there is no file'))


def replace_weights(cfg: Config, options: list[str]) -> None:
    """Replace weights of a config by files, in place.

    Args:
        cfg: The config.
        options: ``NAME=FILE``, with names as in the config.

    Raises:
        ValueError: The config names no such weights, or the file is not a
            checkpoint.
    """
    names = names_of_weights(cfg)
    files: dict[str, str] = {}
    for option in options:
        name = next((n for n in names if option.startswith(f'{n}=')), None)
        if name is None:
            raise ValueError(
                f'--weights {option}: expected NAME=FILE with a NAME of the '
                f'config ({", ".join(names) or "it has none"})'
            )
        files[name] = option.removeprefix(f'{name}=')
        load(files[name])  # readable?
    for node, field in _nodes(cfg):
        node[field] = files.get(node[field], node[field])


def _size(source: WeightsSource) -> int:
    """Size in bytes, of the file or as the server states; 0: not stated."""
    if source.file:
        return source.file.stat().st_size
    # not HEAD, which some servers refuse; the body is not read
    with urlopen(source.location, timeout=_TIMEOUT) as answer:
        return int(answer.headers.get('Content-Length', 0))


def _nodes(cfg: Config | Mapping) -> Iterator[tuple[Any, str]]:
    """Every dict that names weights, and the field that does."""
    if isinstance(cfg.get('load_from'), str):
        yield cfg, 'load_from'
    for _, node in walk_config(cfg.get('model')):
        for field, value in node.items():
            if isinstance(value, str) and (
                field in _FIELDS or value.startswith(WEIGHTS_SCHEMES)
            ):
                yield node, field
