"""Checks what a reader may rely on; one line per problem, exit code 1 if any.

``python tools/dev/check_repo.py [--write]`` (``--write`` first regenerates
METHODS.md and model-index.yml). Reads sources as text: nothing is imported
but the catalog, so it is fast and works on a broken package.
"""

import argparse
import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import generate_index
from similarity import similar_pairs, statements

PACKAGE = generate_index.PACKAGE
MAX_LINES = 500
MAX_LEAF_LINES = 25
MAX_SIMILARITY = 0.3

# (our file, other file) -> reason. Paths as the report prints them.
SIMILAR_ON_PURPOSE: dict[tuple[str, str], str] = {}
# Registered classes under models/ that several methods share -> reason.
SHARED_CLASSES: dict[str, str] = {
    'FlatRetinaHead': 'RetinaNet for every assigner, base of several methods',
    'BatchMaxIoUAssigner': "mmdet's rule for whole batches, of no paper",
}

MARK = 'TODO' + '(new-method)'
# A folder of some machine, or a host that only one network knows.
MACHINE = re.compile(
    r'(?<![\w.${}*~-])/(?:work|tmp|root|home/\w+|mnt)/[\w.]'
    r'|https?://(?!127\.)(?:\d+\.\d+\.\d+\.\d+|[\w.-]+\.(?:internal|local|corp)\b)'
)
# (B, P, 4), [B, G_max], (B, channels, 2*H), (..., 4), (N,), (P), (), scalar;
# the first axis is no lower-case word: "(see below, or not)" is no shape.
_FIRST = r"(?:[A-Z0-9][\w'*+/-]*|\.\.\.)"
_AXIS = r"(?:[\w'*+/-]+(?: ?[*+/-] ?\w+)*|\.\.\.)"
SHAPE = re.compile(
    rf'[(\[]{_FIRST}(?:,|(?:, ?{_AXIS})+)[)\]]'
    r'|\((?:[A-Z]|\.\.\.)?\)|\b[Ss]calar'
)
NUMBER = re.compile(r'\d+\.\d+')
LINK = re.compile(r'\[([^\]]*)\]\([^)]*\)')


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
    def registered(self) -> dict[str, tuple[str, int, str]]:
        """Registered classes, as :func:`registered_classes` gives them."""
        return generate_index.registered_classes(self.root / PACKAGE)

    @cached_property
    def methods(self) -> list:
        """The catalog; raises a ValueError if it can't be read."""
        return generate_index.read_methods(self.root)

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


def check_similarity(tree: Tree) -> Iterator[Problem]:
    """No file repeats more than 30 % of another one's statements."""
    ours = {Path(n): statements(t) for n, t in tree.python(PACKAGE).items()}
    others = {}
    if tree.mmdet:
        for path in generate_index.load_catalog().iter_sources(tree.mmdet):
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
    """Registered classes are used, tested or shown, and have a METHODS row."""
    used = ' '.join(
        text
        for name, text in tree.python('configs', 'tests').items()
        if name.startswith(('configs/', 'tests/'))
    )
    words = set(re.findall(r'\w+', used))
    listed = {name for m in tree.methods for name in m.classes}
    for name, (file, line, _) in tree.registered.items():
        if name not in words:
            yield Problem(file, line, f'{name}: no config and no test uses it')
        is_model = file.startswith(f'{PACKAGE}/models/')
        if is_model and name not in listed and name not in SHARED_CLASSES:
            yield Problem(
                file, line, f'{name}: no metafile lists it under Classes'
            )
    known = generate_index.load_catalog().find_classes(tree.root / PACKAGE)
    for method in tree.methods:
        metafile = f'configs/{method.slug}/metafile.yml'
        for name in method.classes:
            if name not in known:
                line = tree.line_of(metafile, name)
                yield Problem(metafile, line, f'there is no class {name}')


def results_rows(text: str) -> dict[str, tuple[int, dict[str, str]]]:
    """Rows of the tables of a README that have a column "our AP".

    Returns:
        Config stem -> line and cells by column. Rows of mmdet's baselines
        (``mmdet::...``) are left out.
    """
    header: list[str] = []
    rows: dict[str, tuple[int, dict[str, str]]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
        if not line.lstrip().startswith('|'):
            header = []
        elif any(cell.lower() == 'our ap' for cell in cells):
            header = [cell.lower() for cell in cells]
        elif header and not set(cells[0]) <= set('-: '):
            stem = LINK.sub(r'\1', cells[0]).strip('`').removesuffix('.py')
            if not stem.startswith('mmdet::'):
                row = dict(zip(header, cells, strict=False))
                rows.setdefault(stem, (number, row))
    return rows


def check_configs(tree: Tree) -> Iterator[Problem]:
    """Metafile, README table, config files and their headers agree."""
    slugs = {method.slug for method in tree.methods}
    for name in tree.leaf_configs():
        if name.split('/')[1] not in slugs:
            yield Problem(name, 1, 'its folder has no metafile.yml')
    for method in tree.methods:
        yield from _check_method(tree, method)


def _check_method(tree: Tree, method) -> Iterator[Problem]:
    folder = f'configs/{method.slug}'
    metafile, readme = f'{folder}/metafile.yml', f'{folder}/README.md'
    if readme not in tree.texts:
        yield Problem(metafile, 1, f'there is no {readme}')
    for model in method.models:
        line = tree.line_of(metafile, model.name)
        if model.path not in tree.texts:
            yield Problem(metafile, line, f'there is no {model.path}')
        if Path(model.path).stem != model.name:
            message = f'{model.name} is not the name of {model.path}'
            yield Problem(metafile, line, message)
        base = str(model.metadata.get('Baseline', ''))
        if tree.mmdet and base.startswith('mmdet::'):
            file = base.removeprefix('mmdet::')
            if not (tree.mmdet / '.mim' / 'configs' / file).is_file():
                yield Problem(metafile, line, f'there is no Baseline {base}')
    models = {model.path: model for model in method.models}
    rows = results_rows(tree.texts.get(readme, ''))
    for name, text in tree.leaf_configs().items():
        if name.split('/')[1] != method.slug:
            continue
        if name not in models:
            yield Problem(name, 1, f'{metafile} does not list it')
        elif Path(name).stem not in rows:
            yield Problem(name, 1, f'no row with "our AP" in {readme}')
        else:
            row, results = rows[Path(name).stem], models[name].results
            yield from _check_row(readme, name, text, row, results)
    for stem, (line, _) in rows.items():
        if f'{folder}/{stem}.py' not in tree.texts:
            message = f'there is no config {folder}/{stem}.py'
            yield Problem(readme, line, message)
    if method.status == 'draft':
        line = tree.line_of(metafile, 'Status')
        yield Problem(metafile, line, 'Status is draft: not finished')
    golden = f'tests/golden/{method.slug}/manifest.json'
    for needed in (golden, f'tests/adapters/{method.slug}.py'):
        if needed not in tree.texts:
            yield Problem(metafile, 1, f'{needed} is missing (M0)')


def _check_row(readme, name, text, entry, results) -> Iterator[Problem]:
    """One README row against the config's header and the metafile."""
    line, row = entry
    ours = row.get('our ap', '')
    measured = {
        str(value)
        for result in results
        for value in (result.get('Metrics') or {}).values()
    }
    if not results and 'not run' not in ours:
        yield Problem(
            readme, line, f'our AP is {ours!r} but the metafile has no Results'
        )
    if results and not measured & set(re.findall(r'\d+(?:\.\d+)?', ours)):
        yield Problem(
            readme, line, f'our AP is {ours!r}, Results say {sorted(measured)}'
        )
    head = text.split('_base_')[0]
    if not head.lstrip().startswith('#'):
        yield Problem(name, 1, 'no header comment')
    paper = next((v for k, v in row.items() if 'paper' in k), '')
    for number in NUMBER.findall(paper)[:1]:
        if number not in head:
            yield Problem(
                name,
                1,
                f"the header lacks the paper's AP {number} of {readme}",
            )


def check_overview(tree: Tree) -> Iterator[Problem]:
    """README tables and texts repeat what the metafiles say."""
    top = tree.texts.get('README.md', '').splitlines()
    for method in tree.methods:
        readme = f'configs/{method.slug}/README.md'
        line = tree.line_of(readme, 'Status: ')
        found = re.search(r'^Status: (\w+)', tree.texts.get(readme, ''), re.M)
        if not found or found[1] != method.status:
            message = f'no "Status: {method.status}" at the start of a line'
            yield Problem(readme, line, message)
        end = f'| {len(method.models)} | {method.status} |'
        rows = [(i, row) for i, row in enumerate(top, 1) if readme in row]
        if not rows:
            yield Problem('README.md', 1, f'no row links {readme}')
        for number, row in rows:
            if not row.endswith(end):
                yield Problem('README.md', number, f'must end in {end!r}')


def check_names(tree: Tree) -> Iterator[Problem]:
    """Registered names are unique, among ours and against mmdet's classes."""
    find = generate_index.load_catalog().find_classes
    theirs = find(tree.mmdet) if tree.mmdet else {}
    first: dict[str, str] = {}
    for file, module in tree.modules.items():
        for node in module.body:
            if not generate_index.is_registered(node):
                continue
            other = theirs.get(node.name) or first.get(node.name)
            if other:
                yield Problem(
                    file, node.lineno, f'{node.name} is taken by {other}'
                )
            first[node.name] = file


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
    """No file is too long; config names are unique."""
    for name, text in tree.python(PACKAGE, 'tools', 'tests').items():
        count = text.count('\n')
        if count > MAX_LINES:
            yield Problem(
                name, MAX_LINES + 1, f'{count} lines, at most {MAX_LINES}'
            )
    first: dict[str, str] = {}
    for name, text in tree.leaf_configs().items():
        lines = [line.strip() for line in text.splitlines()]
        count = sum(bool(s) and not s.startswith('#') for s in lines)
        if count > MAX_LEAF_LINES:
            yield Problem(
                name, 1, f'{count} lines of code, at most {MAX_LEAF_LINES}'
            )
        base = Path(name).name
        if base in first:
            yield Problem(name, 1, f'same file name as {first[base]}')
        first.setdefault(base, name)


def check_generated(tree: Tree) -> Iterator[Problem]:
    """METHODS.md and model-index.yml are up to date."""
    for name, render in generate_index.RENDERED.items():
        if tree.texts.get(name) != render(tree.root):
            yield Problem(
                name,
                1,
                'not up to date: python tools/dev/check_repo.py --write',
            )


def check_texts(tree: Tree) -> Iterator[Problem]:
    """No machine's folders or hosts, and nothing left to fill in."""
    for name, text in tree.texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            found = MACHINE.search(line)
            if found:
                message = f'{found[0]!r} belongs to one machine'
                yield Problem(name, number, message)
            if MARK in line:
                yield Problem(name, number, f'to do: {line.strip()}')


RULES = (
    check_similarity,
    check_classes,
    check_configs,
    check_overview,
    check_names,
    check_docstrings,
    check_length,
    check_generated,
    check_texts,
)


def check(tree: Tree) -> list[Problem]:
    """All problems of a tree, sorted by file and line."""
    try:
        tree.methods  # noqa: B018  # several rules need it
        problems = [problem for rule in RULES for problem in rule(tree)]
    except SyntaxError as error:
        problems = [Problem('syntax', error.lineno or 1, str(error))]
    except generate_index.load_catalog().MetafileError as error:
        path, _, message = str(error).partition(': ')
        problems = [Problem(path, 1, message)]
    return sorted(problems)


def main(argv: list[str] | None = None) -> int:
    """Check this tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--write',
        action='store_true',
        help='regenerate METHODS.md and model-index.yml first',
    )
    if parser.parse_args(argv).write and generate_index.main() != 0:
        return 1
    spec = importlib.util.find_spec('mmdet')
    found = spec and spec.submodule_search_locations
    problems = check(
        Tree(generate_index.ROOT, Path(found[0]) if found else None)
    )
    print('\n'.join(map(str, problems)) or 'check_repo: no problems')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
