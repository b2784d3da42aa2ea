"""Published and own numbers of a table next to each other."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import mean, median, stdev

from ..catalog import Model, Published, Reference, Table
from ..tables import published_text
from .cost import Cost
from .plan import TTA
from .results import Result

# metric of the papers -> name that an evaluator gives it
_EVALUATOR = {
    'AP': 'coco/bbox_mAP',
    'AP50': 'coco/bbox_mAP_50',
    'AP75': 'coco/bbox_mAP_75',
    'box AP': 'coco/bbox_mAP',
    'mAP': 'pascal_voc/mAP',
    'mask AP': 'coco/segm_mAP',
}
_TOLERANCE = 0.2  # of numbers of parameters


@dataclass(frozen=True)
class Measured:
    """A metric of several seeds.

    Attributes:
        values: Seed -> value; in points (percent) if it is an AP or AR.
    """

    values: dict[int | None, float]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return mean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None of a single seed."""
        values = self.values.values()
        return stdev(values) if len(values) > 1 else None

    def minus(self, other: 'Measured') -> float:
        """Mean difference, of the common seeds if there are any."""
        common = self.common_seeds(other)
        if not common:
            return _rounded(self.mean - other.mean)
        return _rounded(mean(self.values[s] - other.values[s] for s in common))

    def common_seeds(self, other: 'Measured') -> tuple[int, ...]:
        """Seeds that both have, in order; an unknown one is none of them."""
        common = self.values.keys() & other.values.keys()
        return tuple(sorted(seed for seed in common if seed is not None))


@dataclass(frozen=True)
class Line:
    """A row of the report.

    Attributes:
        config: Name of the config, or of a work folder.
        what: Description.
        augmented: Whether it is tested with augmentation.
        published: All published numbers with their sources, as text.
        number: The published number that ``ours`` is compared with, if any.
        results: Trainings; those that are not finished, too.
        metric: Name that the evaluator gives ``ours``.
        ours: What the finished ones reached; None: nothing, or not run.
        difference: Ours minus published, at full scale alone.
        baseline: Stem of the config, or folder, that the gains refer to;
            empty: none.
        gain: Ours minus ours of the baseline, of the same length.
        gain_seeds: The common seeds, which ``gain`` is over, if one of the
            two has others; empty: none is common, it is that of the means.
        published_gain: The same of one source, on one dataset.
        parameters: Of the trained model, or of the full one.
        flops: Multiply-adds; None if not known.
        flops_image: The image size of ``flops`` if it is not 1280x800.
        cost: See :class:`Cost`; None: not measured.
    """

    config: str
    what: str = ''
    augmented: bool = False
    published: str = ''
    number: Published | None = None
    results: tuple[Result, ...] = ()
    metric: str = ''
    ours: Measured | None = None
    difference: float | None = None
    baseline: str = ''
    gain: float | None = None
    gain_seeds: tuple[int, ...] | None = None
    published_gain: float | None = None
    parameters: float | None = None
    flops: float | None = None
    flops_image: str = ''
    cost: Cost | None = None

    @property
    def length(self) -> tuple[int, str] | None:
        """Length of the schedules and its unit; None without a training."""
        found = {(r.epochs, r.unit) for r in self.results}
        return found.pop() if len(found) == 1 else None

    @property
    def seconds_per_iter(self) -> float | None:
        """Median over the trainings."""
        found = [r.seconds_per_iter for r in self.results]
        times = [value for value in found if value is not None]
        return median(times) if times else None

    @property
    def memory_mib(self) -> float | None:
        """Peak GPU memory of the trainings, MiB."""
        found = [r.memory_mib for r in self.results]
        return max((value for value in found if value), default=None)

    @property
    def commits(self) -> list[str]:
        """Commits of the source trees, abbreviated."""
        return list(
            dict.fromkeys(r.commit[:7] for r in self.results if r.commit)
        )

    @property
    def state(self) -> str:
        """Why the trainings give no number."""
        states = (
            f'no {self.metric}'
            if r.finished
            else f'{r.unit} {r.last_epoch} of {r.epochs}'
            for r in self.results
        )
        return ', '.join(dict.fromkeys(states)) or 'not run'


@dataclass(frozen=True)
class Section:
    """Lines that may be compared with each other.

    Attributes:
        title: Name of the table.
        caption: What it is about.
        form: Of all results; None: there are none.
        data: Dataset of all results; None: there are none.
        metric: What ``ours`` is, in the words of its evaluator.
        lines: In the order of the table.
        sources: What the published numbers refer to.
    """

    title: str
    caption: str
    form: str | None
    data: str | None
    metric: str
    lines: tuple[Line, ...]
    sources: tuple[Reference, ...] = ()


def stem(name: str) -> str:
    """Stem of a config from its name, ours or ``mmdet::...``."""
    return name.rpartition('/')[2].removesuffix('.py')


def table_sections(
    table: Table,
    title: str,
    results: Mapping[str, Result],
    metric: str | None = None,
    sources: dict[str, Reference] | None = None,
) -> list[Section]:
    """A published table with the results of its rows.

    Args:
        table: Of the catalog.
        title: Its name.
        results: Name of a file -> the result in it, of any config.
        metric: In the words of the table ('mask AP') or of an evaluator
            ('coco/segm_mAP'); by default what it has most of.
        sources: Of the method.

    Returns:
        list: A section for each form and dataset; one without results if
        there are none.

    Raises:
        ValueError: Two results are of the same training, or there is no such
            metric.
    """
    names = {stem(row.name) for row in table.rows}
    own = {f: r for f, r in results.items() if r.config in names}
    _refuse_repetitions(own)
    groups = _groups(own.values())
    counts = Counter(n.metric for row in table.rows for n in row.published)
    wanted = metric or next(iter(dict(counts.most_common(1))), 'box AP')
    used = {n.source_key for row in table.rows for n in row.published}
    found = []
    for (form, data), group in groups.items():
        name = _evaluated(_EVALUATOR.get(wanted, wanted), group, metric)
        lines = [
            line
            for row in table.rows
            for runs in _by_length(
                r for r in group if r.config == stem(row.name)
            )
            for line in _row_lines(row, runs, wanted, name, form, data)
        ]
        baselines = _baselines([(stem(r.name), r) for r in table.rows])
        found.append(
            Section(
                title,
                table.caption,
                form,
                data,
                name,
                tuple(_with_gains(lines, baselines)),
                tuple(s for k, s in (sources or {}).items() if k in used),
            )
        )
    return found


def run_sections(
    runs: Mapping[str, Sequence[Result]],
    rows: Mapping[str, Model],
    metric: str | None = None,
) -> list[Section]:
    """Any trainings next to each other.

    Args:
        runs: Label of a line -> its trainings, see `labels.by_config` and
            `labels.by_folder`. Those of one form, dataset and length differ
            in their seeds.
        rows: Stem of a config -> its row in the catalog.
        metric: As of :func:`table_sections`.

    Returns:
        list: A section for each form and dataset.
    """
    found = []
    labels = {id(one): label for label, all_ in runs.items() for one in all_}
    for (form, data), group in _groups(chain(*runs.values())).items():
        wanted = metric or 'box AP'
        name = _evaluated(_EVALUATOR.get(wanted, wanted), group, metric)
        labeled: dict[str, list[Result]] = {}
        for result in group:
            labeled.setdefault(labels[id(result)], []).append(result)
        lines, known = [], {}
        for label, own in labeled.items():
            config = own[0].config
            row = replace(rows.get(config, Model('', '')), name=label)
            what = row.description if config == label else config
            row = replace(row, description=what)
            known[row.name] = config, row
            for one in _by_length(own):
                lines += _row_lines(row, one, wanted, name, form, data)
        gains = _with_gains(lines, _baselines([*known.values()]))
        found.append(Section('Trainings', '', form, data, name, tuple(gains)))
    return found


def _refuse_repetitions(results: Mapping[str, Result]) -> None:
    known: dict[tuple, str] = {}
    for file, one in results.items():
        key = one.config, one.form, one.data, one.unit, one.epochs, one.seed
        other = known.setdefault(key, file)
        if other != file:
            raise ValueError(
                f'{other} and {file} are both {one.config}, {one.form}, '
                f'{one.data or "unknown data"}, {_count(one)}, seed '
                f'{one.seed}: expected one of them'
            )


def _count(result: Result) -> str:
    ending = 's' if result.epochs != 1 else ''
    return f'{result.epochs} {result.unit}{ending}'


def _groups(
    results: Iterable[Result],
) -> dict[tuple[str | None, str | None], list[Result]]:
    groups: dict[tuple[str | None, str | None], list[Result]] = {}
    for result in results:
        groups.setdefault((result.form, result.data), []).append(result)
    return groups or {(None, None): []}


def _evaluated(name: str, results: list[Result], metric: str | None) -> str:
    """The metric to show: this one, or the first if nothing has it.

    Raises:
        ValueError: A metric that was asked for is not there.
    """
    known = list(dict.fromkeys(key for r in results for key in r.metrics))
    if name in known or f'{TTA}{name}' in known or not known:
        return name
    if metric:
        raise ValueError(
            f'--metric {metric}: no result has {name}; there are '
            f'{", ".join(known)}'
        )
    return known[0]


def _by_length(results: Iterable[Result]) -> list[tuple[Result, ...]]:
    """Results of a row by the length of their schedules; one without any."""
    groups: dict[tuple[int, str], list[Result]] = {}
    for result in results:
        key = result.epochs, result.unit
        groups.setdefault(key, []).append(result)
    return [tuple(group) for group in groups.values()] or [()]


def _row_lines(
    row: Model,
    own: Sequence[Result],
    wanted: str,
    name: str,
    form: str | None,
    data: str | None,
) -> list[Line]:
    """The lines of a row: plain tests, and those with augmentation."""
    full = form in (None, 'full') and _fits(row, own)
    lines: list[Line] = []
    for prefix in ('', TTA):
        numbers = tuple(
            n for n in row.published if n.augmented == bool(prefix)
        )
        ours = _measure(own, prefix + name)
        if not numbers and not ours and (prefix or row.published):
            continue
        number = _comparable(numbers, wanted)
        lines.append(
            Line(
                config=row.name,
                what=row.description + (', augmented test' if lines else ''),
                augmented=bool(prefix),
                published=published_text(
                    replace(row, published=numbers),
                    'COCO ' if data in (None, 'coco') else '',
                ),
                number=number,
                results=tuple(own),
                metric=prefix + name,
                ours=ours,
                difference=_difference(ours, number, data)
                if form and full and _same(wanted, name)
                else None,
                parameters=next(
                    (r.parameters for r in own if r.parameters),
                    row.parameters if full else None,
                ),
                flops=row.flops if full else None,
                flops_image=(row.metadata or {}).get('FLOPs Image', ''),
            )
        )
    return lines


def _fits(row: Model, results: Iterable[Result]) -> bool:
    """Whether the trained models are as large as that of the metafile.

    Those with another number of classes are, almost.
    """
    counts = [r.parameters for r in results if r.parameters]
    return not row.parameters or all(
        abs(count / row.parameters - 1) < _TOLERANCE for count in counts
    )


def _same(wanted: str, name: str) -> bool:
    return _EVALUATOR.get(wanted, wanted) == name


def _comparable(numbers: Sequence[Published], wanted: str) -> Published | None:
    """The first published number of a metric on the split of our tests."""
    return next(
        (
            n
            for n in numbers
            if _EVALUATOR.get(n.metric, n.metric)
            == _EVALUATOR.get(wanted, wanted)
            and 'test-dev' not in n.dataset
        ),
        None,
    )


def _difference(
    ours: Measured | None, number: Published | None, data: str | None
) -> float | None:
    """Ours minus published, on the same dataset."""
    if not (ours and number and data):
        return None
    same = number.dataset.lower().startswith(data.lower())
    return _rounded(ours.mean - number.value) if same else None


def _rounded(difference: float) -> float:
    """Without the last digits, which are noise, and without -0.0."""
    return round(difference, 10) + 0.0


def _measure(results: Iterable[Result], name: str) -> Measured | None:
    scale = 100 if re.search('A[PR]', name) else 1
    values = {
        result.seed: scale * value
        for result in results
        if result.finished and (value := result.metrics.get(name)) is not None
    }
    return Measured(values) if values else None


def _baselines(rows: Sequence[tuple[str, Model]]) -> dict[str, str]:
    """Row -> its baseline, none for one of the config of its baseline.

    The baseline is that of its metafile if it is here, or the first row.

    Args:
        rows: Stem of the config and row.
    """
    configs = {config: row.name for config, row in reversed(rows)}
    found = {}
    for config, row in rows:
        base = stem((row.metadata or {}).get('Baseline', ''))
        if base not in configs:
            base = rows[0][0]
        if base != config:
            found[row.name] = configs[base]
    return found


def _with_gains(
    lines: Sequence[Line], baselines: dict[str, str]
) -> Iterable[Line]:
    """Lines with their gains over lines of the same length.

    Published numbers are those of any line of the baseline.
    """
    rows: dict[tuple, Line] = {}
    for line in lines:
        key = line.config, line.augmented
        rows.setdefault(key, line)
        rows.setdefault((*key, line.length), line)
    for line in lines:
        key = baselines.get(line.config, ''), line.augmented
        if key not in rows:
            yield line
            continue
        name = rows[key].config
        line = replace(
            line,
            baseline=stem(name) if '::' in name else name,
            published_gain=_gain(line, rows[key]),
        )
        base = rows.get((*key, line.length))
        if base and base.ours and line.ours:
            common = line.ours.common_seeds(base.ours)
            seeds = line.ours.values.keys() | base.ours.values.keys()
            line = replace(
                line,
                gain=line.ours.minus(base.ours),
                gain_seeds=common if len(common) < len(seeds) else None,
            )
        yield line


def _gain(line: Line, base: Line) -> float | None:
    """Difference of published numbers of one source on one dataset."""
    ours, theirs = line.number, base.number
    if (
        ours is None
        or theirs is None
        or (ours.metric, ours.dataset, ours.source_key)
        != (theirs.metric, theirs.dataset, theirs.source_key)
    ):
        return None
    return round(ours.value - theirs.value, 2) + 0.0
