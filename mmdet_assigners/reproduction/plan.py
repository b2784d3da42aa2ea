"""Which trainings and tests the rows of a table need."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ..catalog import Model, closest, find_tables
from ..experiments import Run
from ..utils import config_path

TTA = 'tta/'  # before the metrics of a test with augmentation
_TEST_KEYS = ('test_', 'val_', 'tta_')


@dataclass(frozen=True)
class Settings:
    """What all runs of a table share.

    Attributes:
        root: Folder of trainings and results.
        form: ``full``, ``mini`` or ``small``, see `mmdet_assigners.
            small_scale`.
        data: Name or root of the dataset; None: the files of the configs.
        epochs: Length of the schedules; None: that of the form.
        options: Further changes of all configs, ``KEY=VALUE``.
        arguments: Further arguments of ``train``.
    """

    root: Path
    form: str = 'full'
    data: str | None = None
    epochs: int | None = None
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def run(self, config: str, seed: int) -> Run:
        """The training of a config."""
        return Run(
            config,
            self.data,
            self.epochs,
            seed,
            options=self.options,
            form=self.form,
        )


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        config: Its config.
        modes: How it is tested: ``plain``, ``tta``, or both.
    """

    config: str
    modes: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One training, and the rows of a table that are tested on it.

    Attributes:
        training: The config that is trained.
        seed: Of the training.
        rows: What is evaluated; rows that differ in their test alone share a
            training.
        settings: See :class:`Settings`.
    """

    training: str
    seed: int
    rows: tuple[Row, ...]
    settings: Settings

    @property
    def run(self) -> Run:
        """The training."""
        return self.settings.run(self.training, self.seed)

    @property
    def folder(self) -> Path:
        """Work folder of the training."""
        return self.settings.root / 'trainings' / self.name(self.training)

    def name(self, config: str) -> str:
        """Config, form, data and seed, as a file name."""
        run = self.settings.run(config, self.seed)
        stem = Path(config).stem
        return run.name.replace(stem, f'{stem}_{self.settings.form}', 1)

    def result_file(self, row: Row) -> Path:
        """Where the result of a row is kept."""
        return self.settings.root / 'results' / f'{self.name(row.config)}.json'

    def missing(self) -> list[Row]:
        """Rows without a result."""
        return [row for row in self.rows if not self.result_file(row).exists()]


def modes_of(row: Model) -> tuple[str, ...]:
    """How a row is tested.

    With ``tta`` if a published number is that of a test of mirrored or scaled
    images.
    """
    augmented = {number.augmented for number in row.published}
    return tuple(
        mode
        for mode, wanted in (
            ('plain', not row.published or False in augmented),
            ('tta', True in augmented),
        )
        if wanted
    )


def find_rows(table: str, pattern: str = '*') -> list[Model]:
    """Rows of a method's tables, each config once.

    Args:
        table: ``METHOD`` or ``METHOD/TABLE``.
        pattern: Names of configs, ``*`` as in a shell.

    Raises:
        ValueError: No such method, table or row.
    """
    _, tables = find_tables(table)
    rows: dict[str, Model] = {}
    for one in tables:
        for row in one.rows:
            rows.setdefault(row.name, row)
    found = [row for row in rows.values() if fnmatch(row.name, pattern)]
    if not found:
        raise ValueError(
            f'--rows {pattern}: no such config; {closest(pattern, [*rows])}'
            if '*' not in pattern
            else f'--rows {pattern}: no config of {table} has such a name'
        )
    return found


def plan(
    rows: Iterable[Model], seeds: Sequence[int], settings: Settings
) -> list[Job]:
    """The jobs of rows, seed by seed, so that all rows have one soon."""
    shared: dict[str, list[Row]] = {}
    for row in rows:
        one = Row(row.name, modes_of(row))
        shared.setdefault(training_of(row), []).append(one)
    return [
        Job(training, seed, tuple(tested), settings)
        for seed in seeds
        for training, tested in shared.items()
    ]


def training_of(row: Model) -> str:
    """The config whose training a row takes: its own, or that of its base.

    A config of this package that changes nothing but how its base is tested
    needs no training.
    """
    name = row.name
    while row.is_ours and (base := _trained_base(Path(config_path(name)))):
        name = base
    return name


def _trained_base(path: Path) -> str | None:
    """The base of a config file that changes only its test."""
    base = None
    for name, value in _assigned(ast.parse(path.read_text('utf-8'))):
        if name == '_base_' and isinstance(value, ast.Constant):
            base = str(value.value)
        elif not name.startswith(_TEST_KEYS) and not (
            name == 'model' and _only_test_cfg(value)
        ):
            return None
    if base is None or not base.startswith('./'):
        return None
    return Path(base).stem


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield ast.unparse(node.targets[0]), node.value


def _only_test_cfg(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and all(
        keyword.arg == 'test_cfg' for keyword in value.keywords
    )
