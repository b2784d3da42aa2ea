"""Official weights of a method as a checkpoint for mmdet 3.x.

What a method's files look like is in ``methods/<slug>/convert.py``:

- ``convert(state)``: official state dict -> ours;
- ``guess_config(state)``: our state dict -> the config under which its boxes
  are those of the official code; None, or a name that no config has, if this
  package has none;
- ``alternatives(config)``, optional: further configs whose files have the same
  tensors as those of this one;
- ``read(path)``, optional: reads another format than PyTorch's;
- ``part_of(state)``, optional: the part of a model that our state dict is of,
  such as ``'backbone'``, for its ``init_cfg``; None: the model.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ..catalog import closest
from ..diagnostics.checkpoints import load
from ..files import replacing
from ..utils import config_path
from .geometry import check_geometry
from .state_dicts import check_state, state_dict_of

__all__ = ['alternatives', 'convert_file', 'converters', 'load_converter']

_METHODS = Path(__file__).parents[1] / 'methods'


def converters() -> list[str]:
    """The methods that have a converter, by the names of their folders."""
    return sorted(p.parent.name for p in _METHODS.glob('*/convert.py'))


def load_converter(method: str) -> ModuleType:
    """The converter of a method.

    Raises:
        ValueError: There is none; names the closest ones.
    """
    slug = method.replace('-', '_')
    if slug not in converters():
        raise ValueError(
            f'no converter for {method!r}; {closest(slug, converters())}'
        )
    package = __package__.rpartition('.')[0]
    return importlib.import_module(f'{package}.methods.{slug}.convert')


def alternatives(method: str, config: str) -> list[str]:
    """Configs that the tensors of a file don't tell from another one.

    Args:
        method: Folder of the method.
        config: What ``guess_config`` of its converter returned.
    """
    find = getattr(load_converter(method), 'alternatives', None)
    return find(config) if find else []


def convert_file(
    method: str,
    source: str | Path,
    out: str | Path,
    config: str | None = None,
) -> tuple[int, str]:
    """Convert a file of official weights.

    Args:
        method: Folder of the method, e.g. ``'sepc'``.
        source: File of the official code.
        out: File to write, all of it or nothing.
        config: Name or path of the config to compare with; guessed from the
            weights by default. Its priors and coders must be those of the
            guessed config or of one of its :func:`alternatives`.

    Returns:
        Number of tensors that were written, and the config that they fit.

    Raises:
        FileExistsError: ``out`` is there already.
        ValueError: No converter, not a file of this method, or it does not
            fit the config or its geometry; ``out`` is left as it was.
    """
    converter = load_converter(method)
    if Path(out).is_file():
        raise FileExistsError(f'{out} exists, expected the name of a new file')
    content = getattr(converter, 'read', load)(source)
    state = converter.convert(state_dict_of(content))
    guess = _existing(converter.guess_config(state))
    config = config or guess
    if config is None:
        raise ValueError(
            f'no config fits {source}, e.g. its number of classes; name '
            'yours with --config'
        )
    part = converter.part_of(state) if hasattr(converter, 'part_of') else None
    check_state(state, config, part)
    if guess and not part:
        fitting = [guess, *alternatives(method, guess)]
        if config not in fitting:
            check_geometry(config, fitting)
    meta: dict[str, Any] = dict(
        converted_from=Path(source).name, config=config
    )
    classes = (content.get('meta') or {}).get('CLASSES')
    if classes:
        meta['dataset_meta'] = dict(classes=tuple(classes))
    with replacing(out) as part:
        torch.save(dict(state_dict=state, meta=meta), part)
    return len(state), config


def _existing(config: str | None) -> str | None:
    """The name if a config has it: not every combination has one."""
    if config is None:
        return None
    try:
        config_path(config)
    except FileNotFoundError:
        return None
    return config
