"""The generated parts of README.md and of the methods' READMEs.

A part stands between ``<!-- NAME -->`` and ``<!-- end -->``; NAME is
``methods`` in README.md, and ``status``, ``sources``, ``table: ID`` or, where
it was measured, ``cost`` in the README of a method.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from facts import catalog, load

tables = load('tables')

BLOCK = re.compile(r'<!-- (.+?) -->\n(.*?)<!-- end -->', re.DOTALL)
LEGEND = (
    'Numbers under "published" are those of others, with their source; '
    '"our AP" is what was measured for this project. Empty: no number that a '
    'reader can look up. Parameters and FLOPs (multiply-adds for one image, '
    'of 1280x800 where no size is named) are counted by '
    '`tools/benchmark/complexity.py`.'
)


def fill(name: str, text: str, blocks: dict[str, list[str]]) -> str:
    """Replace every part of a text.

    Args:
        name: File name, for the error.
        text: Text with markers.
        blocks: Lines by marker.

    Raises:
        ValueError: A marker is missing or unknown.
    """
    found = [match[1] for match in BLOCK.finditer(text)]
    for marker in blocks:
        if marker not in found:
            raise ValueError(
                f'{name}: no lines "<!-- {marker} -->" and "<!-- end -->"'
            )
    for marker in found:
        if marker not in blocks:
            raise ValueError(f'{name}: unknown marker "<!-- {marker} -->"')

    def replace(match: re.Match) -> str:
        lines = [f'<!-- {match[1]} -->', *blocks[match[1]], '<!-- end -->']
        return '\n'.join(lines)

    return BLOCK.sub(replace, text)


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    head, *body = rows
    cells = [head, ['---'] * len(head), *body]
    return [re.sub(' +', ' ', f'| {" | ".join(row)} |') for row in cells]


def wrap(text: str) -> list[str]:
    """Lines of prose."""
    return textwrap.wrap(
        text, 79, break_long_words=False, break_on_hyphens=False
    )


def status_text(status: str, equals: str | None = None) -> str:
    """What a status says: its own meaning and that of those before it.

    Args:
        status: Of a method.
        equals: Class of mmdet that stands for reference cases.
    """
    meanings = dict(catalog.STATUSES)
    if equals:
        meanings['M0'] = f"equals mmdet's `{equals}` by test"
    if status == 'draft':
        return meanings[status]
    known = list(meanings)[1:]
    return '; '.join(meanings[s] for s in known[: known.index(status) + 1])


def methods_blocks(methods: list) -> dict[str, list[str]]:
    """The parts of README.md."""
    rows = [('method', 'what', 'configs', 'status')]
    rows += [
        (
            f'[{m.name}](configs/{m.slug}/README.md) ({m.venue})',
            m.summary,
            str(len(m.models)),
            m.status,
        )
        for m in methods
    ]
    levels = list(catalog.STATUSES.items())[1:]
    meaning = '; '.join(f'{status} {text}' for status, text in levels)
    return {'methods': [*table(rows), '', *wrap(f'Status: {meaning}.')]}


def readme_blocks(method) -> dict[str, list[str]]:
    """The parts of the README of a method."""
    text = status_text(method.status, method.equals).replace(
        'small scale', '[small scale](../../docs/small_scale.md)'
    )
    return {
        'status': [f'Status: {method.status} - {text}.'],
        'sources': _sources(method),
        **{f'table: {t.id}': _results(t) for t in method.tables},
    }


def _results(results) -> list[str]:
    described = any(row.description for row in results.rows)
    head = ['config', 'what', 'published', 'our AP', 'params', 'FLOPs']
    rows = [head]
    for row in results.rows:
        link = f'[{row.name}]({Path(row.path).name})'
        rows.append(
            [
                link if row.is_ours else f'`{row.name}`',
                row.description,
                tables.published_text(row),
                _measured(row),
                _count(row.parameters, 1e6, '.2f', 'M'),
                _flops(row),
            ]
        )
    if not described:
        rows = [[row[0], *row[2:]] for row in rows]
    caption = [*wrap(results.caption), ''] if results.caption else []
    return ['', *caption, *table(rows), '']


def _count(value: float | None, unit: float, form: str, name: str) -> str:
    return 'not counted' if value is None else f'{value / unit:{form}} {name}'


def _flops(row) -> str:
    text = _count(row.flops, 1e9, '.1f', 'G')
    image = (row.metadata or {}).get('FLOPs Image')
    return f'{text} at {image}' if image else text


def _measured(row) -> str:
    values = [
        f'{value} ({result["Dataset"]})'
        for result in row.results
        for value in result['Metrics'].values()
    ]
    return ', '.join(values) or 'not run'


def _sources(method) -> list[str]:
    """What the tables mean, and the sources that they name."""
    used = {
        number.source_key
        for results in method.tables
        for row in results.rows
        for number in row.published
    }
    lines = wrap(LEGEND)
    if used:
        lines += ['', 'Sources:', '']
    for key, source in method.sources.items():
        if key in used:
            lines.append(f'- {key}: [{source.title}]({source.url})')
    return lines
