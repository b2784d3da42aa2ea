"""Tables as text."""

import csv
import io
from collections.abc import Sequence

from .facts import Model


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without a newline at its end."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated values, without a newline at their end."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator='\n').writerows([header, *rows])
    return buffer.getvalue().rstrip('\n')


def published_text(row: Model, data: str = 'COCO ') -> str:
    """All published numbers of a row, those of one place together.

    Args:
        row: Of a table.
        data: Start of the names of datasets that goes without saying.
    """
    if not row.published:
        return '' if row.in_paper else 'not in the paper'
    groups: dict[tuple[str, str, str], list[str]] = {}
    for number in row.published:
        prefix = '' if number.metric == 'box AP' else f'{number.metric} '
        place = (number.dataset, number.source, number.note)
        groups.setdefault(place, []).append(f'{prefix}{number.value}')
    sources: dict[tuple[str, str, str], list[str]] = {}
    for (dataset, source, note), values in groups.items():
        key = (', '.join(values), dataset.removeprefix(data), note)
        sources.setdefault(key, []).append(source)
    cells = []
    for (numbers, dataset, note), names in sources.items():
        parts = [dataset, ' and '.join(names), note]
        cells.append(f'{numbers} ({"; ".join(filter(None, parts))})')
    return ', '.join(cells)


def latex(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: str,
    caption: str = '',
) -> str:
    """A LaTeX table for the package ``booktabs``, its text escaped.

    Args:
        header: Of the columns.
        rows: Their text.
        align: A letter per column, ``l``, ``c`` or ``r``.
        caption: Above the table; empty: none.
    """
    lines = [' & '.join(map(latex_text, line)) for line in (header, *rows)]
    body = ''.join(rf'{line} \\' + '\n' for line in lines[1:])
    title = f'\\caption{{{latex_text(caption)}}}\n' if caption else ''
    return (
        f'\\begin{{table}}\n\\centering\n{title}'
        f'\\begin{{tabular}}{{{align}}}\n\\toprule\n'
        rf'{lines[0]} \\'
        f'\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}'
    )


_LATEX = {
    **{character: f'\\{character}' for character in '&%$#_{}'},
    '\\': r'\textbackslash{}',
    '^': r'\textasciicircum{}',
    '~': r'\textasciitilde{}',
    '±': r'$\pm$',
}


def latex_text(text: str) -> str:
    """A text as LaTeX prints it."""
    return ''.join(_LATEX.get(character, character) for character in text)
