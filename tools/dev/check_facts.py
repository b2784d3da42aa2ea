"""Rules on facts: metafiles, config headers, folders, generated texts."""

import re
from collections.abc import Iterator
from pathlib import Path

import generate_index
import yaml
from facts import PACKAGE, catalog
from source_tree import Problem, Tree

MAX_LEAF_LINES = 25
MARK = 'TODO' + '(new-method)'
# A folder of some machine, or a host that only one network knows.
MACHINE = re.compile(
    r'(?<![\w.${}*~-])/(?:work|tmp|root|home/\w+|mnt)/[\w.]'
    r'|https?://(?!127\.)(?:\d+\.\d+\.\d+\.\d+|[\w.-]+\.(?:internal|local|corp)\b)'
)
# an AP or another figure in percent, in the header of a config
FIGURE = re.compile(r'(?<![\d.])\d\d\.\d\d?(?![\d.])')


def check_methods(tree: Tree) -> Iterator[Problem]:
    """Each method has its folders, and each config a row in a table."""
    slugs = {method.slug for method in tree.methods}
    for name in tree.leaf_configs():
        if name.split('/')[1] not in slugs:
            yield Problem(name, 1, 'its folder has no metafile.yml')
    for method in tree.methods:
        metafile = f'configs/{method.slug}/metafile.yml'
        tests = f'tests/methods/{method.slug}'
        cases = (f'{tests}/golden_adapter.py', f'{tests}/golden/manifest.json')
        for needed in (
            f'configs/{method.slug}/README.md',
            f'{PACKAGE}/methods/{method.slug}/__init__.py',
            *(() if method.equals else cases),
        ):
            if needed not in tree.texts:
                yield Problem(metafile, 1, f'there is no {needed}')
        if method.status == 'draft':
            line = tree.line_of(metafile, 'Status')
            yield Problem(metafile, line, 'Status is draft: not finished')
        yield from _check_models(tree, method, metafile)


def _check_models(tree: Tree, method, metafile: str) -> Iterator[Problem]:
    shown = {row.name for table in method.tables for row in table.rows}
    for model in method.models:
        line = tree.line_of(metafile, model.name)
        if model.path not in tree.texts:
            yield Problem(metafile, line, f'there is no {model.path}')
        if Path(model.path).stem != model.name:
            message = f'{model.name} is not the name of {model.path}'
            yield Problem(metafile, line, message)
        if model.name not in shown:
            yield Problem(metafile, line, f'no table shows {model.name}')
    listed = {model.path for model in method.models}
    for name in tree.leaf_configs():
        if name.split('/')[1] == method.slug and name not in listed:
            yield Problem(name, 1, f'{metafile} does not list it')
    baselines = {model.metadata.get('Baseline') for model in method.models}
    baselines |= {row.baseline for row in method.small_scale}
    for base in sorted(filter(None, (baselines | shown))):
        file = base.removeprefix('mmdet::')
        known = file == base or not tree.mmdet
        if not (known or (tree.mmdet / '.mim/configs' / file).is_file()):
            line = tree.line_of(metafile, base)
            yield Problem(metafile, line, f'mmdet has no config {file}')
    for row in method.small_scale:
        ours = {row.config, row.baseline} - {None}
        for config in ours - set(method.configs):
            if not config.startswith('mmdet::'):
                line = tree.line_of(metafile, config)
                yield Problem(metafile, line, f'no model {config}')


def check_baselines(tree: Tree) -> Iterator[Problem]:
    """Numbers of mmdet's model zoo are those of its metafiles."""
    name = f'configs/{catalog.BASELINES}'
    baselines, _ = catalog.read_baselines(tree.root / 'configs')
    for config, model in baselines.items() if tree.mmdet else ():
        folder = config.removeprefix('mmdet::').partition('/')[0]
        path = tree.mmdet / '.mim/configs' / folder / 'metafile.yml'
        values = set()
        if path.is_file():
            text = path.read_text(encoding='utf-8')
            entries = yaml.safe_load(text)['Models']
            for entry in entries:
                if entry['Config'].endswith(config.removeprefix('mmdet::')):
                    for result in entry['Results']:
                        values.update(result['Metrics'].values())
        for number in model.published:
            if number.source == 'mmdet' and number.value not in values:
                line = tree.line_of(name, config)
                message = f'mmdet says {sorted(values)}, not {number.value}'
                yield Problem(name, line, message)


def check_headers(tree: Tree) -> Iterator[Problem]:
    """Headers of configs repeat published numbers, and no others."""
    for method in tree.methods:
        rows = [row for table in method.tables for row in table.rows]
        known = {str(n.value) for row in rows for n in row.published}
        notes = ' '.join(n.note for row in rows for n in row.published)
        known.update(FIGURE.findall(notes))
        for model in method.models:
            head = tree.texts.get(model.path, '').split('_base_')[0]
            if not head.lstrip().startswith('#'):
                yield Problem(model.path, 1, 'no header comment')
            figures = FIGURE.findall(head)
            for number in figures:
                if number not in known:
                    yield Problem(
                        model.path,
                        1,
                        f'{number} in the header is not in the metafile',
                    )
            for published in model.published[:1]:
                if str(published.value) not in figures:
                    yield Problem(
                        model.path,
                        1,
                        f'the header lacks the published {published.value}',
                    )


def check_leaf_configs(tree: Tree) -> Iterator[Problem]:
    """Configs are short, and their names unique."""
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
    """What is generated is up to date."""
    try:
        texts = generate_index.render(tree.root)
    except ValueError as error:
        path, _, message = str(error).partition(': ')
        yield Problem(path, 1, message)
        return
    for name, text in texts.items():
        if tree.texts.get(name) != text:
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
