"""A source tree that the checks read once, and what they report."""

import ast
import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import facts
from facts import PACKAGE


@dataclass(frozen=True, order=True)
class Problem:
    """One broken rule."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: {self.message}'


class Tree:
    """A source tree, read once.

    Args:
        root: Folder with the package, configs and tests.
        mmdet: Sources of mmdet (or of its fork, which has the same import
            name); None if it is not installed.
    """

    def __init__(self, root: Path, mmdet: Path | None = None) -> None:
        self.root = root
        self.mmdet = mmdet
        self.texts: dict[str, str] = {}
        for name in self._files():
            try:
                text = (root / name).read_text(encoding='utf-8')
            except (UnicodeDecodeError, FileNotFoundError):
                continue  # binary, or deleted but still in the index
            self.texts[name] = text

    def _files(self) -> list[str]:
        """Files that git tracks or would track; all without git."""
        if (self.root / '.git').exists():
            command = ['git', 'ls-files', '-co', '--exclude-standard', '-z']
            out = subprocess.run(
                command, cwd=self.root, capture_output=True, check=True
            ).stdout
            return sorted(name for name in out.decode().split('\0') if name)
        return sorted(
            (Path(folder) / name).relative_to(self.root).as_posix()
            for folder, folders, names in os.walk(self.root)
            if folders.sort() is None
            for name in names
            if '__pycache__' not in folder and '/.venv' not in folder
        )

    def python(self, *folders: str) -> dict[str, str]:
        """Python files in these top folders."""
        return {
            name: text
            for name, text in self.texts.items()
            if name.endswith('.py') and name.split('/')[0] in folders
        }

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Syntax trees of the package."""
        return {n: ast.parse(t) for n, t in self.python(PACKAGE).items()}

    @cached_property
    def registered(self) -> list[tuple[str, str, int]]:
        """Registered classes: name, file and line."""
        return [
            (node.name, file, node.lineno)
            for file, module in self.modules.items()
            for node in module.body
            if facts.is_registered(node)
        ]

    @cached_property
    def methods(self) -> list:
        """The catalog; raises a ValueError if it can't be read."""
        return facts.read_methods(self.root)

    def leaf_configs(self) -> dict[str, str]:
        """Configs of methods, without ``_base_`` fragments."""
        return {
            name: text
            for name, text in self.python('configs').items()
            if not name.startswith('configs/_base_/')
        }

    def line_of(self, name: str, needle: str) -> int:
        """First line of a file that holds a text; 1 if none."""
        lines = self.texts.get(name, '').splitlines()
        return next((i for i, s in enumerate(lines, 1) if needle in s), 1)
