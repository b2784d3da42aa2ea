"""How much of a file is found again in another one.

The measure: every statement is written in a normal form (``ast.unparse``:
free of layout, quotes, comments; docstrings and annotations dropped). Lines
that carry no thought are left out: imports, definitions' headers (an override
must repeat its parent's), ``pass``, ``else``, bare ``return`` and the calls of
``super``. A statement counts as found again if it lies in a run of
:data:`RUN` consecutive statements that stands in the other file as well. The
similarity is the larger share of such statements in the file that has fewer.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

RUN = 3
MIN_STATEMENTS = 10  # below that a share says nothing


class _DropAnnotations(ast.NodeTransformer):
    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        new = ast.Assign(targets=[node.target], value=node.value)
        return ast.copy_location(new, node)


def _header(node: ast.stmt) -> str | None:
    """The normal form of one statement, without its block."""
    if isinstance(node, ast.If | ast.While):
        return f'{type(node).__name__} {ast.unparse(node.test)}'
    if isinstance(node, ast.For | ast.AsyncFor):
        return f'For {ast.unparse(node.target)} {ast.unparse(node.iter)}'
    if isinstance(node, ast.With | ast.AsyncWith):
        return f'With {", ".join(map(ast.unparse, node.items))}'
    skipped = (
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Import,
        ast.ImportFrom,
        ast.Pass,
        ast.Try,
        ast.Match,
    )
    if isinstance(node, skipped):
        return None
    is_text = isinstance(node, ast.Expr) and isinstance(
        node.value, ast.Constant
    )
    if is_text or (isinstance(node, ast.Return) and node.value is None):
        return None
    text = ast.unparse(node)
    return None if text.startswith('super(') else text


def _walk(block: list[ast.stmt]) -> Iterator[str]:
    for node in block:
        header = _header(node)
        if header is not None:
            yield header
        for field in ('body', 'orelse', 'finalbody'):
            yield from _walk(getattr(node, field, []))
        for handler in getattr(node, 'handlers', []):
            yield from _walk(handler.body)
        for case in getattr(node, 'cases', []):
            yield from _walk(case.body)


def statements(source: str) -> list[str]:
    """The statements of a module in their normal form."""
    tree = _DropAnnotations().visit(ast.parse(source))
    return list(_walk(ast.fix_missing_locations(tree).body))


def _runs(lines: list[str]) -> list[int]:
    return [hash(tuple(lines[i : i + RUN])) for i in range(len(lines))][
        : max(len(lines) - RUN + 1, 0)
    ]


def similar_pairs(
    ours: dict[Path, list[str]],
    others: dict[Path, list[str]],
    limit: float,
) -> list[tuple[Path, Path, float]]:
    """Pairs of one of our files with any file above the limit.

    Args:
        ours: Statements by file; compared with each other and with `others`.
        others: Statements of files that are not compared with each other.
        limit: Share (0 to 1) of the smaller file.
    """
    files = {**others, **ours}
    runs = {path: _runs(lines) for path, lines in files.items()}
    where = defaultdict(set)
    for path, hashes in runs.items():
        for value in hashes:
            where[value].add(path)
    pairs = []
    for path in ours:
        common: dict[Path, set[int]] = defaultdict(set)
        for value in runs[path]:
            for other in where[value]:
                if other != path and not (other in ours and other < path):
                    common[other].add(value)
        for other, values in common.items():
            size, small = min((len(files[p]), p) for p in (path, other))
            if size < MIN_STATEMENTS:
                continue
            found = {
                index + offset
                for index, value in enumerate(runs[small])
                if value in values
                for offset in range(RUN)
            }
            if len(found) / size > limit:
                pairs.append((path, other, len(found) / size))
    return pairs
