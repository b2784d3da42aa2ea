"""Rules on the package's code: copies, names, classes, docstrings, length."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from facts import PACKAGE, catalog
from similarity import similar_pairs, statements
from source_tree import Problem, Tree

MAX_LINES = 500
MAX_SIMILARITY = 0.3

# (our file, other file) -> reason. Paths as the report prints them.
SIMILAR_ON_PURPOSE: dict[tuple[str, str], str] = {}

# (B, P, 4), [B, G_max], (B, channels, 2*H), (..., 4), (N,), (P), (), scalar;
# the first axis is no lower-case word: "(see below, or not)" is no shape.
_FIRST = r"(?:[A-Z0-9][\w'*+/-]*|\.\.\.)"
_AXIS = r"(?:[\w'*+/-]+(?: ?[*+/-] ?\w+)*|\.\.\.)"
SHAPE = re.compile(
    rf'[(\[]{_FIRST}(?:,|(?:, ?{_AXIS})+)[)\]]'
    r'|\((?:[A-Z]|\.\.\.)?\)|\b[Ss]calar'
)


def check_similarity(tree: Tree) -> Iterator[Problem]:
    """No file repeats more than 30 % of another one's statements."""
    ours = {Path(n): statements(t) for n, t in tree.python(PACKAGE).items()}
    others = {}
    if tree.mmdet:
        for path in catalog.iter_sources(tree.mmdet):
            name = path.relative_to(tree.mmdet.parent)
            others[name] = statements(path.read_text(encoding='utf-8'))
    for path, other, share in similar_pairs(ours, others, MAX_SIMILARITY):
        pair = (path.as_posix(), other.as_posix())
        if pair not in SIMILAR_ON_PURPOSE:
            yield Problem(
                pair[0],
                1,
                f'{share:.0%} of the smaller file is found again in '
                f'{pair[1]}; share it, or allow it with a reason',
            )


def check_classes(tree: Tree) -> Iterator[Problem]:
    """Registered classes are used, unique and listed by their method."""
    words = set()
    for text in tree.python('configs', 'tests').values():
        words.update(re.findall(r'\w+', text))
    taken = catalog.find_classes(tree.mmdet) if tree.mmdet else {}
    listed = {m.slug: m.classes for m in tree.methods}
    for name, file, line in tree.registered:
        if name not in words:
            yield Problem(file, line, f'{name}: no config and no test uses it')
        if name in taken:
            yield Problem(file, line, f'{name} is taken by {taken[name]}')
        taken[name] = file
        folder, _, rest = file.removeprefix(f'{PACKAGE}/').partition('/')
        slug = rest.partition('/')[0]
        if folder == 'methods' and name not in listed.get(slug, ()):
            yield Problem(file, line, f'{name}: the metafile does not list it')
    known = catalog.find_classes(tree.root / PACKAGE)
    for method in tree.methods:
        metafile = f'configs/{method.slug}/metafile.yml'
        for name in method.classes:
            if name not in known:
                line = tree.line_of(metafile, name)
                yield Problem(metafile, line, f'there is no class {name}')


def check_docstrings(tree: Tree) -> Iterator[Problem]:
    """Public docstrings exist and name the shapes of tensors."""
    for file, module in tree.modules.items():
        if not ast.get_docstring(module) and any(
            not isinstance(node, ast.Import | ast.ImportFrom)
            for node in module.body
        ):
            yield Problem(file, 1, 'the module has no docstring')
        yield from _check_block(file, module.body, '')


def _check_block(file: str, body: list, prefix: str) -> Iterator[Problem]:
    for node in body:
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if not isinstance(node, kinds) or node.name.startswith('_'):
            continue
        marks = {ast.unparse(mark) for mark in node.decorator_list}
        if marks & {'overload', 'typing.overload'} or any(
            mark.endswith('.setter') for mark in marks
        ):
            continue
        doc = ast.get_docstring(node) or ''
        if not doc:
            message = f'{prefix}{node.name} has no docstring'
            yield Problem(file, node.lineno, message)
        if isinstance(node, ast.ClassDef):
            yield from _check_block(file, node.body, f'{node.name}.')
        elif doc and not SHAPE.search(doc) and _takes_tensors(node):
            yield Problem(
                file,
                node.lineno,
                f'{prefix}{node.name}: the docstring names no shape such as '
                '(B, P, 4)',
            )


def _takes_tensors(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    every += [arg for arg in (args.vararg, args.kwarg) if arg]
    hints = [arg.annotation for arg in every] + [node.returns]
    text = ' '.join(ast.unparse(hint) for hint in hints if hint)
    return re.search(r'\bTensor\b', text) is not None


def check_length(tree: Tree) -> Iterator[Problem]:
    """No file is too long."""
    for name, text in tree.python(PACKAGE, 'tools', 'tests').items():
        count = text.count('\n')
        if count > MAX_LINES:
            yield Problem(
                name, MAX_LINES + 1, f'{count} lines, at most {MAX_LINES}'
            )
