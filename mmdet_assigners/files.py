"""Files that are written completely or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file that replaces another one when it is complete.

    A symbolic link stays, its target is replaced. A device or a pipe can't be
    replaced: it gets the content when the file is complete.

    Args:
        path: The file to replace; its folder is created.

    Yields:
        Path: The file to write, beside ``path``. On an error it is removed
        and ``path`` is unchanged.

    Raises:
        IsADirectoryError: ``path`` is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f'{path} is a folder, expected a file')
    target.parent.mkdir(parents=True, exist_ok=True)
    special = target.exists() and not target.is_file()
    folder = Path(tempfile.gettempdir()) if special else target.parent
    # two processes may write the same file
    part = folder / f'{target.name}.{os.getpid()}.part'
    try:
        yield part
        if special:
            with open(target, 'wb') as stream:
                stream.write(part.read_bytes())
        else:
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, see :func:`replacing`."""
    with replacing(path) as part:
        part.write_text(text, encoding='utf-8')


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON, one entry per line, see :func:`replacing`."""
    write_text(path, json.dumps(content, indent=1) + '\n')
