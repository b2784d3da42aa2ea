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


def published_text(row: Model) -> str:
    """All published numbers of a row, those of one place together."""
    if not row.published:
        return '' if row.in_paper else 'not in the paper'
    groups: dict[tuple[str, str, str], list[str]] = {}
    for number in row.published:
        prefix = '' if number.metric == 'box AP' else f'{number.metric} '
        place = (number.dataset, number.source, number.note)
        groups.setdefault(place, []).append(f'{prefix}{number.value}')
    sources: dict[tuple[str, str, str], list[str]] = {}
    for (dataset, source, note), values in groups.items():
        key = (', '.join(values), dataset.removeprefix('COCO '), note)
        sources.setdefault(key, []).append(source)
    cells = []
    for (numbers, dataset, note), names in sources.items():
        parts = [dataset, ' and '.join(names), note]
        cells.append(f'{numbers} ({"; ".join(filter(None, parts))})')
    return ', '.join(cells)
