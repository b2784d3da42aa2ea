"""The catalog of a source tree, without importing the package.

``import mmdet_assigners`` needs torch and mmdet, and a tree whose modules all
import. Tools read metafiles through this alias of the package instead, whose
``__init__`` doesn't run: in pre-commit, and while a method is being written.
"""

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = 'mmdet_assigners'
_ALIAS = f'{PACKAGE}_without_init'


def load(name: str) -> ModuleType:
    """A module of the package that needs no torch."""
    if _ALIAS not in sys.modules:
        package = ModuleType(_ALIAS)
        package.__path__ = [str(ROOT / PACKAGE)]
        sys.modules[_ALIAS] = package
    return importlib.import_module(f'{_ALIAS}.{name}')


catalog = load('catalog')


def read_methods(root: Path) -> list:
    """The catalog of a source tree."""
    return catalog.read_catalog(root / 'configs', root / PACKAGE)


def is_registered(node: ast.AST) -> bool:
    """Whether a class statement is decorated by a registry."""
    return isinstance(node, ast.ClassDef) and any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == 'register_module'
        for call in node.decorator_list
    )
