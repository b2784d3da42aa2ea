"""Registration, and configs: finding, loading and walking through them."""

import difflib
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = [
    'config_path',
    'config_root',
    'get_config',
    'inference_pipeline',
    'leaf_datasets',
    'register_all_modules',
    'registered_names',
    'resolve_config',
    'type_name',
    'walk_config',
]

# Scopes whose names are those of mmdet's registries.
_SCOPES = ('mmcv', 'mmdet', 'mmdet_assigners', 'mmengine')
_SUBPACKAGES = ('datasets', 'engine', 'evaluation', 'models', 'methods')


@functools.cache
def register_all_modules(init_default_scope: bool = False) -> None:
    """Register all classes of the package with mmdet's registries.

    Importing the package does this; calling it again costs nothing.

    Args:
        init_default_scope: Also make ``mmdet`` the default scope, as mmdet's
            function of the same name does.

    Raises:
        ImportError: mmdet, mmcv or mmengine is missing or broken; the message
            names the command that finds the fix.
    """
    try:
        importlib.import_module('mmdet.models')
    except ImportError as error:
        raise ImportError(
            f'mmdet cannot be imported ({error}). mmdet_assigners extends an '
            'existing MMDetection 3.x; run `python -m mmdet_assigners check` '
            'for the pip commands that fix this environment.'
        ) from error
    from . import compat

    compat.apply()
    for name in _SUBPACKAGES:
        importlib.import_module(f'{__package__}.{name}')
    if init_default_scope:
        from mmengine.registry import init_default_scope as init

        init('mmdet')


@functools.cache
def registered_names() -> dict[str, type]:
    """Every class that this package registers, by its registered name."""
    register_all_modules()
    from mmdet import registry as mmdet_registry
    from mmengine import registry as root

    found: dict[str, type] = {}
    for module in (root, mmdet_registry):
        for entry in vars(module).values():
            if not isinstance(entry, root.Registry):
                continue
            for name, cls in entry.module_dict.items():
                if getattr(cls, '__module__', '').startswith(__package__):
                    found[name] = cls
    return found


def config_root() -> Path:
    """The folder of our configs, in a wheel and in a source tree alike."""
    package = Path(__file__).parent
    for root in (package / '.mim' / 'configs', package.parent / 'configs'):
        if root.is_dir():
            return root.resolve()
    raise FileNotFoundError(
        f'no configs beside {package}: the installation is incomplete, '
        'reinstall mmdet_assigners'
    )


def config_path(name: str) -> str:
    """The path of one of our configs, for tools that take only a path.

    Args:
        name: File of the config, with or without its folder, the prefix
            ``mmdet_assigners::`` and the suffix ``.py``, e.g.
            ``sepc/sepc_retinanet_r50_fpn_1x_coco`` or
            ``sepc_retinanet_r50_fpn_1x_coco.py``.

    Raises:
        FileNotFoundError: No such config; the message suggests similar names.
    """
    root = config_root()
    name = name.removeprefix('mmdet_assigners::')
    wanted = Path(name if name.endswith('.py') else f'{name}.py')
    if (root / wanted).is_file():
        return str(root / wanted)
    by_name = {path.name: path for path in sorted(root.glob('*/*.py'))}
    if len(wanted.parts) == 1 and wanted.name in by_name:
        return str(by_name[wanted.name])
    stems = [path.stem for path in by_name.values()]
    # difflib scores a prefix low against the full name
    near = [stem for stem in stems if stem.startswith(wanted.stem)][:3]
    near = near or difflib.get_close_matches(wanted.stem, stems, cutoff=0.5)
    raise FileNotFoundError(
        f'mmdet_assigners has no config {name!r}{_did_you_mean(near)}'
    )


def resolve_config(name: str) -> str:
    """The path of any config: ours, mmdet's, or a file.

    Args:
        name: Name of our config (see :func:`config_path`), ``mmdet::name``,
            e.g. ``mmdet::atss/atss_r50_fpn_1x_coco``, or a path.

    Raises:
        FileNotFoundError: No such config; the message suggests similar names.
    """
    if Path(name).is_file():
        return name
    if not name.startswith('mmdet::'):
        return config_path(name)
    import mmdet

    root = Path(mmdet.__file__).parent / '.mim' / 'configs'
    wanted = name.removeprefix('mmdet::').removesuffix('.py') + '.py'
    if (root / wanted).is_file():
        return str(root / wanted)
    known = [str(path.relative_to(root)) for path in root.glob('*/*.py')]
    near = difflib.get_close_matches(wanted, known)
    raise FileNotFoundError(
        f'mmdet has no config {name!r}{_did_you_mean(near)}'
    )


def _did_you_mean(names: list[str]) -> str:
    return f'; did you mean {" or ".join(names)}?' if names else ''


def walk_config(node: Any, key: str = '') -> Iterator[tuple[str, dict]]:
    """Every dict of a config, outermost first, with its dotted key.

    Args:
        node: Part of a config: dicts and lists of them at any depth.
        key: Key of the part itself, e.g. ``'model'``.

    Yields:
        tuple: Key as ``--cfg-options`` takes it, e.g.
        ``'train_dataloader.dataset.pipeline.2'``, and the dict itself.
    """
    if isinstance(node, dict):
        yield key, node
        children = list(node.items())
    elif isinstance(node, list | tuple):
        children = list(enumerate(node))
    else:
        return
    for name, value in children:
        yield from walk_config(value, f'{key}.{name}' if key else str(name))


def type_name(node: Any) -> str:
    """The bare name of the class that a part of a config names.

    mmengine takes ``'Resize'``, ``'mmdet.Resize'``, the full name of the class
    and the class itself. A class of another package keeps its scope: it is
    another class.

    Args:
        node: A dict with a ``type``, or the type itself.

    Returns:
        str: The name; empty if there is none.
    """
    value = node.get('type') if isinstance(node, dict) else node
    if not isinstance(value, str):
        return getattr(value, '__name__', '')
    scope, _, name = value.rpartition('.')
    return name if scope.partition('.')[0] in _SCOPES else value


def leaf_datasets(node: Any, key: str = '') -> Iterator[tuple[str, dict]]:
    """The datasets that read files: of a data loader, inside all wrappers.

    Args:
        node: A data loader or a dataset, None if there is none.
        key: Key of the node itself, e.g. ``'train_dataloader'``.

    Yields:
        tuple: Key as ``--cfg-options`` takes it, and the dataset.
    """
    inner = node or {}
    wrapped = [
        (f'{key}.{name}'.lstrip('.'), inner[name])
        for name in ('dataset', 'datasets')
        if name in inner
    ]
    if node and not wrapped:
        yield key, node
    for name, child in wrapped:
        if isinstance(child, dict):
            yield from leaf_datasets(child, name)
        else:
            for index, one in enumerate(child):
                yield from leaf_datasets(one, f'{name}.{index}')


def inference_pipeline(cfg: Any) -> list[dict]:
    """The transforms of an image that a config tests, or else validates, on.

    Args:
        cfg: The config; in several concatenated datasets the first counts.

    Raises:
        ValueError: The config neither tests nor validates.
    """
    for loader in ('test_dataloader', 'val_dataloader'):
        for _, dataset in leaf_datasets(cfg.get(loader), loader):
            return list(dataset['pipeline'])
    raise ValueError(
        'the config has neither a test_dataloader nor a val_dataloader, '
        'expected one of them: its pipeline loads the images'
    )


def get_config(name: str) -> Any:
    """Load one of our configs (names as in :func:`config_path`).

    Returns:
        The parsed :class:`mmengine.config.Config`.
    """
    register_all_modules()
    from mmengine.config import Config

    return Config.fromfile(config_path(name))
