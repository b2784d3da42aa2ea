"""The house rules, on the import graph of the sources."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from mmdet_assigners.catalog import read_catalog
from mmdet_assigners.utils import config_root

PACKAGE = Path(__file__).parents[1] / 'mmdet_assigners'
# used by whoever wants it, so one method of ours is enough
PUBLIC = ('models.backbones', 'ops.border_align', 'ops.deform_roi_pool')


def module_of(path):
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {
    module_of(path): path
    for path in PACKAGE.rglob('*.py')
    if '.mim' not in path.parts
}
METHODS = sorted(path.name for path in (PACKAGE / 'methods').glob('[a-z]*'))


def absolute(node, module):
    """The module of the package that ``from X import`` names, or None."""
    if not node.level:
        top, _, rest = (node.module or '').partition('.')
        return rest if top == PACKAGE.name else None
    parts = [*module.split('.')] if module else []
    if FILES[module].name != '__init__.py':
        parts.pop()
    parts = parts[: len(parts) - node.level + 1]
    return '.'.join([*parts, *([node.module] if node.module else [])])


@cache
def imports(module):
    """Modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.partition('.') for alias in node.names]
            found |= {rest for top, _, rest in names if top == PACKAGE.name}
        if not isinstance(node, ast.ImportFrom):
            continue
        target = absolute(node, module)
        if target is None:
            continue
        for alias in node.names:
            inner = f'{target}.{alias.name}'.lstrip('.')
            found.add(inner if inner in FILES else target)
    return frozenset(found & FILES.keys())


def reach(modules):
    """All that some modules import, directly or not."""
    todo, seen = list(modules), set()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += imports(module)
    return seen


def own(slug):
    return {
        name for name in FILES if f'{name}.'.startswith(f'methods.{slug}.')
    }


@cache
def class_files():
    """Class -> module, for the shared classes that a config may name."""
    return {
        name: module
        for module, path in FILES.items()
        if module.startswith(('models', 'ops'))
        for name in re.findall(r'^class (\w+)', path.read_text(), re.M)
    }


def texts_of(slug):
    """The configs of a method and all of ours that they inherit."""
    todo, texts = [*(config_root() / slug).glob('*.py')], {}
    while todo:
        path = todo.pop()
        if path not in texts:
            texts[path] = path.read_text()
            bases = re.findall(r"'(\.\.?/[\w./-]+\.py)'", texts[path])
            todo += [(path.parent / base).resolve() for base in bases]
    return ' '.join(texts.values())


@cache
def users():
    """Shared module -> methods that import it, or configure a class of it."""
    found = {
        name: set() for name in FILES if name.startswith(('models', 'ops'))
    }
    for slug in METHODS:
        named = set(re.findall(r'\w+', texts_of(slug)))
        start = own(slug) | {
            module for name, module in class_files().items() if name in named
        }
        for module in reach(start) & found.keys():
            found[module].add(slug)
    return found


@pytest.mark.parametrize('slug', METHODS)
def test_a_method_imports_no_other_method(slug):
    other = {
        (module, target)
        for module in own(slug)
        for target in imports(module)
        if target.startswith('methods') and target not in own(slug)
    }
    assert not other


def test_shared_code_imports_no_method():
    wrong = {
        (module, target)
        for module in FILES
        if not module.startswith('methods')
        for target in imports(module)
        if target.startswith('methods')
    }
    assert not wrong


def test_shared_code_has_two_users():
    lonely = {
        module: sorted(slugs)
        for module, slugs in users().items()
        if len(slugs) < 2
        and FILES[module].name != '__init__.py'
        and not module.startswith(PUBLIC)
    }
    assert not lonely, 'move it to its method, see docs: architecture'


def test_every_method_has_its_three_folders():
    folders = [PACKAGE.parent / name for name in ('configs', 'tests/methods')]
    for slug in METHODS:
        assert all((folder / slug).is_dir() for folder in folders), slug
    for method in read_catalog():
        # what mmdet ships is compared with mmdet
        path = folders[1] / method.slug / 'golden_adapter.py'
        assert path.is_file() == (method.equals is None), method.slug
    for folder in folders:
        found = {p.name for p in folder.iterdir() if p.is_dir()}
        assert {n for n in found if n[0] != '_'} == set(METHODS)
