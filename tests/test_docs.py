"""What the pages say: configs build, commands parse, places exist."""

import os
import re
import shlex
from pathlib import Path

import pytest
from helpers import BOXES, demo_batch, losses_of, mini_model, total_loss
from mmengine.config import Config

from mmdet_assigners.__main__ import COMMANDS, build_parser
from mmdet_assigners.conversion import converters
from mmdet_assigners.utils import resolve_config

ROOT = Path(__file__).parents[1]
COPIES = {'changelog', 'contributing'}  # made by docs/conf.py
PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md')),
    *(p for p in sorted((ROOT / 'docs').glob('*.md')) if p.stem not in COPIES),
    *sorted((ROOT / 'configs').glob('*/README.md')),
]
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```', re.DOTALL | re.MULTILINE)


def blocks(*languages):
    """Code blocks of the pages; their names say where they are."""
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for match in BLOCK.finditer(text):
            if match[1] in languages:
                line = text.count('\n', 0, match.start()) + 1
                name = page.relative_to(ROOT).as_posix()
                yield pytest.param(match[2], id=f'{name}:{line}')


def commands():
    """Command lines of the pages, without prompt, comment and variables."""
    for param in blocks('bash', 'console'):
        (text,) = param.values
        shell = text.replace('\\\n', ' ')
        if '$ ' in shell:  # console: other lines are output
            shell = '\n'.join(re.findall(r'^\$ (.*)', shell, re.MULTILINE))
        for line in shell.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r'[A-Z_]+=\S*', words[0]):
                words.pop(0)
            if words:
                yield pytest.param(words, id=f'{param.id} {line[:40]}')


def test_pages_have_code():
    assert len(list(commands())) > 30
    assert len([*configs()]) > 5


def configs():
    """Complete configs of the hand-written pages."""
    for param in blocks('python'):
        if '_base_ =' in param.values[0] and '/README' not in param.id:
            yield param


@pytest.mark.parametrize('text', configs())
def test_configs_build_and_have_losses(text, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(text)
    losses = losses_of(mini_model(path), demo_batch([BOXES, BOXES]))
    assert total_loss(losses).isfinite()


def diffs():
    """The config diff that each method's page begins with."""
    for page in sorted((ROOT / 'configs').glob('*/README.md')):
        _, _, rest = page.read_text(encoding='utf-8').partition('## The diff')
        match = BLOCK.search(rest.partition('\n## ')[0])
        assert match and match[1] == 'python', page
        yield pytest.param(page.parent, match[2], id=page.parent.name)


def differences(part, whole, path=''):
    """Where a diff says something else than a config."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return [
            line
            for key, value in part.items()
            if key != '_delete_'
            for line in differences(value, whole.get(key), f'{path}.{key}')
        ]
    return [] if part == whole else [f'{path}: {part}, config: {whole}']


@pytest.mark.parametrize(('folder', 'text'), diffs())
def test_diffs_are_those_of_a_config(folder, text):
    diff = {
        key: value
        for key, value in Config.fromstring(text, '.py').to_dict().items()
        if not key.startswith('_')
    }
    if '_base_' in text:
        diff = dict(model=diff['model'])
    assert diff
    found = []
    for path in sorted(folder.glob('*.py'), key=lambda path: len(path.name)):
        found.append(differences(diff, Config.fromfile(path).to_dict()))
        if not found[-1]:
            return
    raise AssertionError(min(found, key=len))


def arguments_of(words):
    """Arguments of our own command line, or None."""
    text = ' '.join(words)
    for start in ('mmdet-assigners ', '-m mmdet_assigners '):
        if start in text:
            return text.partition(start)[2].split()
    return None


@pytest.mark.parametrize('words', commands())
def test_commands_exist(words):
    arguments = arguments_of(words)
    if arguments is not None and arguments[0] in COMMANDS:
        placeholders = {'CONFIG', 'CONFIG_PATH', '...'}
        arguments = [a for a in arguments if a != '...']
        args = build_parser(arguments[:1]).parse_args(arguments)
        names = getattr(args, 'config', None) or []
        for name in [names] if isinstance(names, str) else names:
            if name not in placeholders:
                resolve_config(name)
        return
    assert arguments is None, f'no command {arguments[0]}'
    if words[0] == 'make':
        makefile = (ROOT / 'Makefile').read_text()
        targets = set(re.findall(r'^([a-z-]+):', makefile, re.MULTILINE))
        assert {w for w in words[1:] if '=' not in w} <= targets
    for word in words:
        if word.startswith(('tools/', 'tests/')):
            assert (ROOT / word.partition('::')[0]).exists(), word


def test_every_converter_is_listed():
    text = (ROOT / 'docs' / 'convert.md').read_text(encoding='utf-8')
    listed = text.partition('There are converters for')[2].partition('.')[0]
    assert re.findall(r'`(\w+)`', listed) == converters()


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.parent.name + p.name)
def test_places_exist(page):
    """Paths of the repository in backticks, and targets of links."""
    text = page.read_text(encoding='utf-8')
    named = r'`((?:configs|docs|mmdet_assigners|tests|tools)/[\w./-]+)`'
    linked = r'\]\((?![a-z]+:)([^)\s#]+)'
    places = [ROOT / place for place in re.findall(named, text)]
    places += [page.parent / place for place in re.findall(linked, text)]
    generated = {'docs/methods/index.md', 'docs/contributing.md'}
    missing = {
        os.path.relpath(place, ROOT) for place in places if not place.exists()
    }
    assert missing <= generated
