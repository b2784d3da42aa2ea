"""A report as Markdown, CSV or LaTeX."""

from collections.abc import Callable, Iterable, Sequence

from ..tables import csv_text, latex, markdown
from .report import Line, Section
from .results import Result

# a column that is empty in all lines is left out, one of _COMMON also if it
# is the same in all
_COLUMNS: dict[str, Callable[[Line], str]] = {
    'config': lambda line: line.config,
    'what': lambda line: line.what,
    'epochs': lambda line: length_text(line),
    'published': lambda line: line.published,
    'ours': lambda line: ours_text(line),
    'ours - published': lambda line: signed(line.difference),
    'gain': lambda line: signed(line.gain),
    'published gain': lambda line: signed(line.published_gain),
    'params': lambda line: count_text(parameters(line), 1e6, '.2f', 'M'),
    'FLOPs': lambda line: flops_text(line),
    's / step': lambda line: number(line.seconds_per_iter, '.3f'),
    'memory': lambda line: count_text(line.memory_mib, 1, '.0f', 'MiB'),
    'inference': lambda line: (
        f'{1000 * line.cost.seconds:.1f} ms' if line.cost else ''
    ),
    'inference memory': lambda line: (
        count_text(line.cost.memory_mib, 1, '.0f', 'MiB') if line.cost else ''
    ),
    'commit': lambda line: ', '.join(line.commits),
}
_COMMON = ('epochs',)
_LEFT = ('config', 'what', 'published', 'commit')


def to_markdown(sections: Iterable[Section]) -> str:
    """Sections with their tables and notes."""
    parts = []
    for section in sections:
        header, rows = cells(section.lines)
        escaped = [[cell.replace('|', '\\|') for cell in row] for row in rows]
        parts.append(f'### {heading(section)}')
        parts += [section.caption] if section.caption else []
        parts.append(markdown(header, escaped))
        parts += notes(section)
        parts += [f'[{one.title}]({one.url})' for one in section.sources]
    return '\n\n'.join(parts)


def to_latex(sections: Iterable[Section]) -> str:
    """A table for each section; needs the package ``booktabs``."""
    tables = []
    for section in sections:
        header, rows = cells(section.lines)
        align = ''.join('l' if name in _LEFT else 'r' for name in header)
        tables.append(latex(header, rows, align, heading(section)))
    return '\n\n'.join(tables)


def to_csv(sections: Iterable[Section]) -> str:
    """A line for each line of all sections, numbers in full."""
    header = (
        *('table', 'form', 'data', 'metric', 'config', 'what'),
        *('epochs', 'unit', 'published'),
        *('ours', 'spread', 'seeds', 'difference', 'gain', 'published_gain'),
        *('parameters', 'flops', 'seconds_per_iter', 'memory_mib'),
        *('inference_seconds', 'inference_memory_mib', 'commits'),
        'environment',
    )
    rows = []
    for section in sections:
        for line in section.lines:
            ours, cost = line.ours, line.cost
            values = (
                *(section.title, section.form, section.data, section.metric),
                *(line.config, line.what, *(line.length or ('', ''))),
                line.published,
                ours.mean if ours else None,
                ours.spread if ours else None,
                len(ours.values) if ours else 0,
                *(line.difference, line.gain, line.published_gain),
                parameters(line),
                cost.flops if cost else line.flops,
                *(line.seconds_per_iter, line.memory_mib),
                cost.seconds if cost else None,
                cost.memory_mib if cost else None,
                ' '.join(line.commits),
                '; '.join(environments(line.results)),
            )
            rows.append([_plain(value) for value in values])
    return csv_text(header, rows)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f'{value:.10g}'
    return '' if value is None else str(value)


def cells(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Header and text of the columns that say something."""
    columns = {
        name: [text(line) for line in lines] for name, text in _COLUMNS.items()
    }
    columns = {
        name: texts
        for name, texts in columns.items()
        if len({*texts} - {''}) > (name in _COMMON)
    }
    return list(columns), [
        list(row) for row in zip(*columns.values(), strict=True)
    ]


def heading(section: Section) -> str:
    """Name of a section with what its results have in common."""
    if section.form is None:
        return section.title
    parts = [section.data or 'unknown data', section.form, section.metric]
    return f'{section.title}: {", ".join(p for p in parts if p != "full")}'


def notes(section: Section) -> list[str]:
    """What a reader has to know besides the table."""
    found = [*_gain_notes(section.lines)]
    by_environment: dict[str, list[str]] = {}
    for line in section.lines:
        for text in environments(line.results):
            by_environment.setdefault(text, []).append(line.config)
    for text, configs in by_environment.items():
        names = f' ({_listed(configs)})' if len(by_environment) > 1 else ''
        found.append(f'Trained with {text}{names}.')
    costs = {
        (line.cost.shape, line.cost.device)
        for line in section.lines
        if line.cost
    }
    for shape, device in sorted(costs):
        found.append(
            f'Parameters, multiply-adds and inference of an image of '
            f'{shape[1]}x{shape[0]} on {device}.'
        )
    return found


def _gain_notes(lines: Sequence[Line]) -> list[str]:
    """What the gains are over, and over which seeds."""
    found = []
    gains = [one for one in lines if one.gain is not None]
    alone = [
        one
        for one in lines
        if one.gain is None and one.published_gain is not None
    ]
    for kind, some in (('Gains', gains), ('Published gains', alone)):
        over: dict[str, list[str]] = {}
        for line in some:
            over.setdefault(line.baseline, []).append(line.config)
        for baseline, configs in over.items():
            several = len(over) > 1 or (gains and some is alone)
            names = f' of {_listed(configs)}' if several else ''
            found.append(f'{kind}{names} are over {baseline}.')
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for line in gains:
        if line.gain_seeds is not None:
            name = line.config
            if len({one.length for one in gains}) > 1 and line.length:
                name += ' at {} {}s'.format(*line.length)
            by_seeds.setdefault(line.gain_seeds, []).append(name)
    for seeds, configs in by_seeds.items():
        names = f'of {_listed(configs)} '
        if not seeds:
            found.append(
                f'The gain {names}is that of the means: no seed is known to '
                'be common.'
            )
            continue
        numbers = ', '.join(map(str, seeds))
        ending = 's' if len(seeds) > 1 else ''
        found.append(
            f'The gain {names}is over seed{ending} {numbers}, which both have.'
        )
    return found


def _listed(names: Iterable[str]) -> str:
    return ', '.join(dict.fromkeys(names))


def environments(results: Iterable[Result]) -> list[str]:
    """Versions and hardware of trainings, in words."""
    found = {}
    for result in results:
        versions = (f'{k} {v}' for k, v in result.versions.items())
        hardware = result.hardware
        parts = [*versions]
        name = hardware.get('gpu') or hardware.get('cpu')
        parts += [str(name)] if name else []
        for unit, one in (('threads', 'thread'), ('processes', 'process')):
            if amount := hardware.get(unit):
                parts.append(f'{amount} {unit if amount != 1 else one}')
        found[', '.join(parts)] = True
    return [text for text in found if text]


def ours_text(line: Line) -> str:
    """Mean, spread and number of seeds; or why there are none."""
    if line.ours is None:
        return line.state
    number = len(line.ours.values)
    seeds = f'{number} seed{"s" if number > 1 else ""}'
    spread = line.ours.spread
    around = '' if spread is None else f' ± {spread:.1f}'
    return f'{line.ours.mean:.1f}{around} ({seeds})'


def length_text(line: Line) -> str:
    """Length of the schedules; empty without a training."""
    if line.length is None:
        return ''
    length, unit = line.length
    return str(length) if unit == 'epoch' else f'{length} {unit}s'


def signed(value: float | None) -> str:
    """A difference, with its sign; that of zero is +."""
    return '' if value is None else f'{round(value, 1) + 0.0:+.1f}'


def number(value: float | None, form: str) -> str:
    """A number; empty if it is not known."""
    return '' if value is None else f'{value:{form}}'


def count_text(value: float | None, unit: float, form: str, name: str) -> str:
    """A number with a unit; empty if it is not known."""
    return '' if value is None else f'{value / unit:{form}} {name}'


def parameters(line: Line) -> float | None:
    """Those of the training, else those that were counted."""
    counted = line.cost.parameters if line.cost else None
    return line.parameters or counted


def flops_text(line: Line) -> str:
    """Multiply-adds, with the size of the image if it is not 1280x800."""
    if line.cost:
        return count_text(line.cost.flops, 1e9, '.1f', 'G')
    text = count_text(line.flops, 1e9, '.1f', 'G')
    return f'{text} at {line.flops_image}' if line.flops_image else text
