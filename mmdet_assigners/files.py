"""Files that are written completely or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file that replaces another one when it is complete.

    Args:
        path: The file to replace; its folder is created.

    Yields:
        Path: The file to write, beside ``path``. On an error it is removed
        and ``path`` is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # two processes may write the same file
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, see :func:`replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding='utf-8')


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON, one entry per line, see :func:`replacing`."""
    write_text(path, json.dumps(content, indent=1) + '\n')
