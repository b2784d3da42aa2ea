"""Tables as text."""

import csv
import io
from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without a newline at its end."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated values, without a newline at their end."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator='\n').writerows([header, *rows])
    return buffer.getvalue().rstrip('\n')
