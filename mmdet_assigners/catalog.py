"""The methods of the package, as their metafiles describe them.

``configs/<method>/metafile.yml`` is the only place that holds the facts of a
method: paper, status, tables with the published numbers, small-scale rows.
``configs/baselines.yml`` holds those of mmdet's configs. Both are read as
text: this module imports neither torch nor mmengine, so ``list`` answers at
once.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from .facts import (
    CATEGORIES,
    STATUSES,
    Gain,
    MetafileError,
    Method,
    Model,
    Published,
    Reference,
    SmallScaleRow,
    Table,
)

__all__ = [
    'CATEGORIES',
    'STATUSES',
    'Gain',
    'MetafileError',
    'Method',
    'Model',
    'Published',
    'Reference',
    'SmallScaleRow',
    'Table',
    'closest',
    'find_classes',
    'find_tables',
    'iter_sources',
    'read_baselines',
    'read_catalog',
    'read_method',
    'read_pairs',
]

# the one in C is faster; not every build of PyYAML has it
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
BASELINES = 'baselines.yml'
# the paper of a method whose metafile has none
UNPUBLISHED = Reference('unpublished', '')
# keys of mim and mmengine, then ours
_COLLECTION_KEYS = (
    *('Name', 'Metadata', 'Paper', 'README', 'Code'),
    *('Sources', 'Tables', 'Small Scale'),
)
_MODEL_KEYS = (
    *('Name', 'In Collection', 'Config', 'Metadata', 'Results', 'Weights'),
    *('Description', 'In Paper', 'Published'),
)
_CLASS = re.compile(r'^class (\w+)', re.MULTILINE)


class _Entry:
    """A mapping of a metafile, whose values are checked when read."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise MetafileError(f'{where}: {content!r}, expected a mapping')
        self.content = content
        self.where = where

    def get(self, key: str, kind: type, default: Any = ...) -> Any:
        """A value of a required type; required itself without a default."""
        if key not in self.content:
            if default is ...:
                raise MetafileError(f'{self.where}: key {key!r} is missing')
            return default
        value = self.content[key]
        if not isinstance(value, kind) or (kind is not bool and value is True):
            raise MetafileError(
                f'{self.where}: {key} is {value!r}, expected {kind.__name__}'
            )
        return value

    def entry(self, key: str) -> '_Entry':
        """A mapping in this one."""
        return _Entry(self.get(key, dict), self.where)

    def entries(self, key: str) -> list['_Entry']:
        """A list of mappings; empty if the key is missing."""
        return [_Entry(e, self.where) for e in self.get(key, list, [])]

    def names(self, key: str) -> tuple[str, ...]:
        """A list of strings that isn't empty."""
        values = self.get(key, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise MetafileError(
                f'{self.where}: {key} is {values!r}, expected a list of names'
            )
        return tuple(values)

    def only(self, *keys: str) -> '_Entry':
        """Refuse keys that nothing reads."""
        for key in self.content:
            if key not in keys:
                raise MetafileError(
                    f'{self.where}: unknown key {key!r}; '
                    f'{closest(str(key), keys)}'
                )
        return self


def _read(path: Path, where: str) -> _Entry:
    try:
        text = path.read_text(encoding='utf-8')
        return _Entry(yaml.load(text, Loader=_LOADER), where)
    except yaml.YAMLError as error:
        raise MetafileError(f'{where}: not YAML: {error}') from error


def _reference(entry: _Entry) -> Reference:
    entry.only('Title', 'URL')
    return Reference(entry.get('Title', str), entry.get('URL', str))


def _sources(entry: _Entry) -> dict[str, Reference]:
    return {
        key: _reference(_Entry(value, entry.where))
        for key, value in entry.get('Sources', dict, {}).items()
    }


def _published(
    entry: _Entry, sources: dict[str, Reference]
) -> tuple[Published, ...]:
    found = []
    for item in entry.entries('Published'):
        item.only('Metric', 'Value', 'Dataset', 'Source', 'Note')
        number = Published(
            item.get('Metric', str),
            item.get('Value', float),
            item.get('Dataset', str),
            item.get('Source', str),
            item.get('Note', str, ''),
        )
        if number.source_key not in sources:
            raise MetafileError(
                f'{entry.where}: Source {number.source!r} is unknown; '
                f'{closest(number.source_key, tuple(sources))}'
            )
        found.append(number)
    return tuple(found)


def read_baselines(
    configs: Path,
) -> tuple[dict[str, Model], dict[str, Reference]]:
    """The configs of mmdet by name, and the sources that all tables share.

    Args:
        configs: Folder with ``baselines.yml``, which may be missing.
    """
    path = configs / BASELINES
    if not path.is_file():
        return {}, {}
    content = _read(path, f'configs/{BASELINES}')
    content.only('Sources', 'Baselines', 'Small Scale')
    sources = _sources(content)
    found = {}
    for entry in content.entries('Baselines'):
        entry.only(
            'Config', 'Label', 'Description', 'Parameters', 'FLOPs',
            'Published',
        )  # fmt: skip
        config = entry.get('Config', str)
        found[config] = Model(
            config,
            config,
            entry.get('Description', str),
            entry.get('Label', str, ''),
            published=_published(entry, sources),
            parameters=entry.get('Parameters', float, None),
            flops=entry.get('FLOPs', float, None),
        )
    return found, sources


def _model(entry: _Entry, sources: dict[str, Reference]) -> Model:
    entry.only(*_MODEL_KEYS)
    metadata = _Entry(entry.get('Metadata', dict, {}), entry.where)
    return Model(
        entry.get('Name', str),
        entry.get('Config', str),
        entry.get('Description', str, ''),
        in_paper=entry.get('In Paper', bool, True),
        published=_published(entry, sources),
        parameters=metadata.get('Parameters', float, None),
        flops=metadata.get('FLOPs', float, None),
        metadata=metadata.content,
        results=tuple(entry.get('Results', list, [])),
    )


def _table(
    entry: _Entry, known: dict[str, Model], sources: dict[str, Reference]
) -> Table:
    entry.only('ID', 'Caption', 'Rows')
    rows = []
    for content in entry.get('Rows', list):
        if isinstance(content, str):
            content = {'Config': content}
        row = _Entry(content, entry.where)
        row.only('Config', 'Description', 'Published')
        config = row.get('Config', str)
        if config not in known:
            raise MetafileError(
                f'{entry.where}: table {entry.get("ID", str)!r} has a row '
                f'{config!r}, which is neither in Models nor in '
                f'configs/{BASELINES}'
            )
        model = known[config]
        rows.append(
            replace(
                model,
                description=row.get('Description', str, model.description),
                published=model.published + _published(row, sources),
            )
        )
    return Table(
        entry.get('ID', str), entry.get('Caption', str, ''), tuple(rows)
    )


def _small_scale(
    entry: _Entry, numbers: dict[str, set[Published]]
) -> tuple[SmallScaleRow, ...]:
    rows = []
    for row in entry.entries('Small Scale'):
        row.only('Label', 'Config', 'Baseline', 'Published', 'Data')
        config = row.get('Config', str)
        baseline = row.get('Baseline', str, None)
        gain = None
        if 'Published' in row.content:
            pair = row.entry('Published')
            pair.only('Source', 'Config', 'Baseline', 'Note')
            gain = _gain(
                pair,
                numbers.get(pair.get('Config', str, config), set()),
                numbers.get(pair.get('Baseline', str, baseline), set()),
                row.get('Label', str),
            )
        data = tuple(row.get('Data', list, []))
        rows.append(
            SmallScaleRow(row.get('Label', str), config, baseline, gain, data)
        )
    return tuple(rows)


def _gain(
    entry: _Entry,
    ours: set[Published],
    theirs: set[Published],
    label: str,
) -> Gain:
    """The one pair of box APs that a source has on one dataset."""
    key = entry.get('Source', str)
    pairs = {
        (our.value, their.value, our.dataset, our.source)
        for our in ours
        for their in theirs
        if our.metric == their.metric == 'box AP'
        and our.source_key == their.source_key == key
        and our.dataset == their.dataset
    }
    if len(pairs) != 1:
        raise MetafileError(
            f'{entry.where}: Published of the small-scale row {label!r}: '
            f'{key!r} has {len(pairs)} pairs of box AP in the tables, '
            'expected one'
        )
    return Gain(*pairs.pop(), entry.get('Note', str, ''))


def _numbers(models: Iterable[Model]) -> dict[str, set[Published]]:
    """Published numbers by config, of all rows that it has."""
    found: dict[str, set[Published]] = {}
    for model in models:
        found.setdefault(model.name, set()).update(model.published)
    return found


def read_pairs(configs: Path) -> tuple[SmallScaleRow, ...]:
    """Small-scale rows of mmdet's configs compared among themselves.

    Args:
        configs: Folder with ``baselines.yml``, which may be missing.
    """
    path = configs / BASELINES
    if not path.is_file():
        return ()
    baselines, _ = read_baselines(configs)
    content = _read(path, f'configs/{BASELINES}')
    return _small_scale(content, _numbers(baselines.values()))


def read_method(
    metafile: Path,
    class_files: dict[str, str],
    baselines: dict[str, Model] | None = None,
    sources: dict[str, Reference] | None = None,
) -> Method:
    """Read one metafile.

    Args:
        metafile: ``configs/<slug>/metafile.yml``.
        class_files: Where each class is, see :func:`find_classes`; classes
            that it doesn't know have no file.
        baselines: Configs of mmdet, see :func:`read_baselines`.
        sources: Sources that every method may name.

    Raises:
        MetafileError: Not YAML, a key is missing or of a wrong type, or a
            name refers to nothing.
    """
    where = f'configs/{metafile.parent.name}/metafile.yml'
    content = _read(metafile, where)
    collections = content.entries('Collections')
    if len(collections) != 1:
        raise MetafileError(
            f'{where}: {len(collections)} Collections, expected one'
        )
    (collection,) = collections
    name = collection.only(*_COLLECTION_KEYS).get('Name', str)
    metadata = collection.entry('Metadata')
    paper = UNPUBLISHED
    if 'Paper' in collection.content:
        paper = _reference(collection.entry('Paper'))
    categories = metadata.names('Categories')
    classes = metadata.names('Classes')
    status = metadata.get('Status', str)
    checks = [(status, STATUSES), *((c, CATEGORIES) for c in categories)]
    for value, known in checks:
        if value not in known:
            raise MetafileError(
                f'{where}: {value!r} is none of {", ".join(known)}'
            )
    own = {'paper': paper} if paper is not UNPUBLISHED else {}
    sources = {**(sources or {}), **own, **_sources(collection)}
    models = []
    for entry in content.entries('Models'):
        models.append(_model(entry, sources))
        if entry.get('In Collection', str) != name:
            raise MetafileError(
                f'{where}: {models[-1].name} is not in collection {name!r}'
            )
    rows = {**(baselines or {}), **{m.name: m for m in models}}
    tables = tuple(
        _table(e, rows, sources) for e in collection.entries('Tables')
    )
    shown = (row for table in tables for row in table.rows)
    numbers = _numbers(chain(rows.values(), shown))
    files = dict.fromkeys(class_files[c] for c in classes if c in class_files)
    return Method(
        metafile.parent.name,
        name,
        metadata.get('Summary', str),
        metadata.get('Venue', str),
        categories,
        paper,
        status,
        classes,
        tuple(files),
        tuple(models),
        tables,
        sources,
        _small_scale(collection, numbers),
        metadata.get('Synchronizations', int, None),
        metadata.get('Equals', str, None),
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
    baselines, sources = read_baselines(configs)
    return [
        read_method(path, class_files, baselines, sources)
        for path in sorted(configs.glob('*/metafile.yml'))
    ]


def find_tables(name: str) -> tuple[Method, tuple[Table, ...]]:
    """A method and its tables by name.

    Args:
        name: ``METHOD`` for all of its tables, or ``METHOD/TABLE``.

    Raises:
        ValueError: There is no such method or table; the message suggests
            similar ones.
    """
    slug, slash, wanted = name.partition('/')
    if not slug or (slash and not wanted):
        raise ValueError(f'{name!r}: expected METHOD or METHOD/TABLE')
    methods = {method.slug: method for method in read_catalog()}
    if slug not in methods:
        raise ValueError(f'no method {slug!r}; {closest(slug, [*methods])}')
    tables = {table.id: table for table in methods[slug].tables}
    if wanted and wanted not in tables:
        raise ValueError(
            f'{slug} has no table {wanted!r}; {closest(wanted, [*tables])}'
        )
    found = (tables[wanted],) if wanted else tuple(tables.values())
    return methods[slug], found


def closest(word: str, known: Sequence[str]) -> str:
    """``did you mean ...?`` for a typo, or the list of what there is."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.5)
    if near:
        return f'did you mean {" or ".join(by_lower[n] for n in near)}?'
    return f'there are {", ".join(known)}' if known else 'there are none'
