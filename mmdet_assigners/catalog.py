"""The methods of the package, as their metafiles describe them.

Reads ``configs/<method>/metafile.yml`` and the sources as text: imports
neither torch nor mmengine, so ``list`` answers at once.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

STATUSES = {
    'draft': 'generated, not written yet',
    'M0': 'parity with the reference on golden vectors',
    'M1': 'trains at small scale on real data',
    'M2': 'official weights convert',
    'M3': 'a COCO number was measured',
}
KINDS = (
    'assigner',
    'backbone',
    'coder',
    'detector',
    'head',
    'hook',
    'layer',
    'loss',
    'metric',
    'neck',
    'roi_head',
    'sampler',
    'transform',
)
_CLASS = re.compile(r'^class (\w+)', re.MULTILINE)


@dataclass(frozen=True)
class Paper:
    """The paper of a method."""

    title: str
    url: str


@dataclass(frozen=True)
class Model:
    """One entry of a metafile: a config and what was measured with it.

    ``path`` is relative to the folder above ``configs``, with ``/``.
    """

    name: str
    path: str
    metadata: dict[str, Any]
    results: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Method:
    """A method: one folder of configs with its metafile."""

    slug: str
    name: str
    kinds: tuple[str, ...]
    paper: Paper
    status: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    models: tuple[Model, ...]

    @property
    def configs(self) -> tuple[str, ...]:
        """Names of the configs, without folder and suffix."""
        return tuple(model.name for model in self.models)


class MetafileError(ValueError):
    """A metafile breaks the contract; says the file and what is expected."""


def _get(entry: Any, key: str, kind: type, where: str) -> Any:
    """A required value of a metafile, of a required type."""
    if not isinstance(entry, dict) or key not in entry:
        raise MetafileError(f'{where}: key {key!r} is missing')
    if not isinstance(entry[key], kind):
        raise MetafileError(
            f'{where}: {key} is {entry[key]!r}, expected a {kind.__name__}'
        )
    return entry[key]


def _names(entry: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = _get(entry, key, list, where)
    if not values or not all(isinstance(value, str) for value in values):
        raise MetafileError(
            f'{where}: {key} is {values!r}, expected a list of names'
        )
    return tuple(values)


def read_method(metafile: Path, class_files: dict[str, str]) -> Method:
    """Read one metafile.

    Args:
        metafile: ``configs/<slug>/metafile.yml``.
        class_files: Where each class is, see :func:`find_classes`; classes
            that it doesn't know have no file.

    Raises:
        MetafileError: Not YAML, or a key is missing or of a wrong kind.
    """
    where = f'configs/{metafile.parent.name}/metafile.yml'
    try:
        content = yaml.safe_load(metafile.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise MetafileError(f'{where}: not YAML: {error}') from error
    collections = _get(content, 'Collections', list, where)
    if len(collections) != 1:
        raise MetafileError(
            f'{where}: {len(collections)} Collections, expected one'
        )
    name = _get(collections[0], 'Name', str, where)
    metadata = _get(collections[0], 'Metadata', dict, where)
    paper = _get(collections[0], 'Paper', dict, where)
    kinds = _names(metadata, 'Kind', where)
    classes = _names(metadata, 'Classes', where)
    status = _get(metadata, 'Status', str, where)
    for value, known in [(status, STATUSES), *((k, KINDS) for k in kinds)]:
        if value not in known:
            raise MetafileError(
                f'{where}: {value!r} is none of {", ".join(known)}'
            )
    models = []
    for entry in _get(content, 'Models', list, where):
        model = Model(
            _get(entry, 'Name', str, where),
            _get(entry, 'Config', str, where),
            entry.get('Metadata') or {},
            tuple(entry.get('Results') or ()),
        )
        if _get(entry, 'In Collection', str, where) != name:
            raise MetafileError(
                f'{where}: {model.name} is not in collection {name!r}'
            )
        models.append(model)
    files = dict.fromkeys(class_files[c] for c in classes if c in class_files)
    return Method(
        metafile.parent.name,
        name,
        kinds,
        Paper(
            _get(paper, 'Title', str, where), _get(paper, 'URL', str, where)
        ),
        status,
        classes,
        tuple(files),
        tuple(models),
    )


def iter_sources(root: Path) -> Iterator[Path]:
    """Python files under a package, in order, without hidden folders."""
    for path in sorted(root.rglob('*.py')):
        parts = path.relative_to(root).parts
        if not any(part.startswith('.') for part in parts):
            yield path


def find_classes(package: Path) -> dict[str, str]:
    """Top-level classes of a package by text, without importing it.

    Returns:
        Class name -> file, relative to the folder above the package.
    """
    return {
        name: path.relative_to(package.parent).as_posix()
        for path in iter_sources(package)
        for name in _CLASS.findall(path.read_text(encoding='utf-8'))
    }


def read_catalog(
    configs: Path | None = None, package: Path | None = None
) -> list[Method]:
    """All methods, sorted by folder.

    Args:
        configs: Folder with ``<method>/metafile.yml``; ours by default, in a
            wheel and in a source tree alike.
        package: Package whose sources hold the classes; ours by default.

    Raises:
        MetafileError: A metafile breaks the contract.
    """
    if configs is None:
        from .utils import config_root

        configs = config_root()
    class_files = find_classes(package or Path(__file__).parent)
    return [
        read_method(path, class_files)
        for path in sorted(configs.glob('*/metafile.yml'))
    ]


def closest(word: str, known: Sequence[str]) -> str:
    """``did you mean ...?`` for a typo, or the list of what there is."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.5)
    if near:
        return f'did you mean {" or ".join(by_lower[n] for n in near)}?'
    return f'there are {", ".join(known)}' if known else 'there are none'
