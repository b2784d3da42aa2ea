"""`new-method`: complete, clean stubs whose tests fail until written."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmdet_assigners.cli.kinds import KINDS
from mmdet_assigners.cli.templates import BASES, MARK

from mmdet_assigners.cli import new_method

ROOT = Path(__file__).parents[2]
FEATURES = [(k, None) for k in KINDS] + [
    ('loss', 'faster-rcnn'),
    ('assigner', 'faster-rcnn'),
    ('head', 'fcos'),
    ('head', 'atss'),
]


def call(tree, *command):
    env = {**os.environ, 'PYTHONPATH': str(tree), 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
    )


def copy_tree(target):
    """The package without methods: only what the stubs stand on."""
    ignore = shutil.ignore_patterns('__pycache__', '.mim', 'test_*', '*.npz')
    for name in ('mmdet_assigners', 'tools', 'tests'):
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    (target / 'configs').mkdir()
    shutil.copy(ROOT / 'pyproject.toml', target)
    shutil.rmtree(target / 'mmdet_assigners' / 'models')
    models = target / 'mmdet_assigners' / 'models'
    models.mkdir()
    lines = []
    for folder in sorted({kind.folder for kind in KINDS.values()}):
        top = folder.split('/')[0]
        (models / top).mkdir()
        (models / top / '__init__.py').touch()
        lines.append(f'from .{top} import *  # noqa: F403\n')
    (models / '__init__.py').write_text('"""Models."""\n\n' + ''.join(lines))
    for folder in ('tests/golden', 'tests/adapters'):
        shutil.rmtree(target / folder, ignore_errors=True)
        (target / folder).mkdir()
    return target


@pytest.fixture(scope='module')
def generated(tmp_path_factory):
    """A tree with one method of every kind."""
    tree = copy_tree(tmp_path_factory.mktemp('tree'))
    for number, (kind, base) in enumerate(FEATURES):
        slug = f'a_name_of_some_length{number}'
        new_method.write(new_method.plan(tree, slug, kind, base))
    files = [str(p) for p in tree.rglob('*.py') if 'length' in p.name]
    done = call(tree, '-m', 'ruff', 'format', '-q', *files)
    assert done.returncode == 0, done.stderr
    return tree


def test_generated_code_is_clean(generated):
    files = [str(p) for p in generated.rglob('*.py') if 'length' in p.name]
    files += map(str, (generated / 'mmdet_assigners/models').rglob('*.py'))
    assert len(files) >= 4 * len(FEATURES)
    for command in (['check', '--no-cache'], ['format', '--check']):
        done = call(generated, '-m', 'ruff', *command, *files)
        assert done.returncode == 0, done.stdout + done.stderr


def test_generated_tests_fail_with_a_clear_message(generated):
    done = call(
        generated, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests'
    )
    out = done.stdout
    assert done.returncode == 1, out[-3000:] + done.stderr[-1000:]
    assert ' error' not in out.splitlines()[-1]  # registered, importable
    for number, (kind, _) in enumerate(FEATURES):
        slug = f'a_name_of_some_length{number}'
        cls = f'ANameOfSomeLength{number}{KINDS[kind].suffix}'
        assert f'{cls}.{KINDS[kind].method} is not written yet' in out
        assert f'{slug}: write a case with its' in out
        assert f'tests/golden/{slug}/manifest.json is missing' in out
    # what passes: the configs parse and use the classes
    assert f'{len(FEATURES)} passed' in out.splitlines()[-1]


def test_check_repo_names_what_is_missing(generated):
    assert call(generated, 'tools/generate_index.py').returncode == 0
    done = call(generated, 'tools/check_repo.py')
    assert done.returncode == 1
    for problem in (
        'metafile.yml:1: tests/golden/{s}/manifest.json is missing',
        'configs/{s}/metafile.yml:7: Status is draft: not finished',
        'configs/{s}/README.md:3: to do: ',
        'tests/adapters/{s}.py:8: to do: raise NotImplementedError',
        'README.md:1: no row links configs/{s}/README.md',
    ):
        for number in range(len(FEATURES)):
            line = problem.format(s=f'a_name_of_some_length{number}')
            assert line in done.stdout
    lines = [s for s in done.stdout.splitlines() if '_length' in s]
    asked = ('to do:', 'metafile.yml', 'no row links')
    left = [line for line in lines if not any(s in line for s in asked)]
    assert left == []  # consistent otherwise


@pytest.fixture
def tree(tmp_path):
    return copy_tree(tmp_path)


def test_refuses_to_overwrite_and_writes_nothing(tree):
    taken = tree / 'configs' / 'toy' / 'README.md'
    taken.parent.mkdir()
    taken.write_text('mine')
    with pytest.raises(
        FileExistsError, match=r'already configs/toy/README\.md'
    ):
        new_method.plan(tree, 'toy', 'neck')
    assert [p for p in tree.rglob('*toy*') if p.is_file()] == []
    assert taken.read_text() == 'mine'


def test_refuses_class_names_in_use(tree):
    with pytest.raises(ValueError, match='ATSSHead; expected an unused'):
        new_method.plan(tree, 'mine', 'head', title='ATSS')
    new_method.write(new_method.plan(tree, 'one', 'neck', title='Toy'))
    with pytest.raises(ValueError, match=r'one_neck.py has a class ToyNeck'):
        new_method.plan(tree, 'two', 'neck', title='Toy')


def test_write_is_all_or_nothing(tmp_path):
    old, new = tmp_path / 'old.txt', tmp_path / 'new.txt'
    old.write_text('before')
    (tmp_path / 'file').touch()
    files = {old: 'after', new: 'x', tmp_path / 'file' / 'below': 'x'}
    with pytest.raises(OSError):
        new_method.write(files)
    assert old.read_text() == 'before'
    assert not new.exists()


@pytest.mark.parametrize(
    ('slug', 'kind', 'base', 'title', 'message'),
    [
        ('Toy', 'neck', None, None, "NAME 'Toy': expected snake case"),
        ('toy-a', 'neck', None, None, "NAME 'toy-a'"),
        ('../toy', 'neck', None, None, 'expected snake case'),
        ('class', 'neck', None, None, "NAME 'class'"),
        ('a' * 25, 'neck', None, None, 'at most 24 characters'),
        ('toy', 'nek', None, None, "--kind 'nek': did you mean neck"),
        ('toy', 'neck', 'fco', None, "--base 'fco': did you mean fcos"),
        ('toy', 'head', 'faster-rcnn', None, 'one stage for a head'),
        ('toy', 'roi_head', 'atss', None, 'needs faster-rcnn'),
        ('toy', 'assigner', 'fcos', None, 'takes no assigner'),
        ('toy', 'neck', None, 'my toy', "--title 'my toy': expected a class"),
    ],
)
def test_bad_arguments(tree, slug, kind, base, title, message):
    with pytest.raises(ValueError, match=message):
        new_method.plan(tree, slug, kind, base, title)


def test_command(tree, monkeypatch, capsys):
    monkeypatch.setattr(new_method, 'source_root', lambda: tree)

    def run(*argv):
        parser = argparse.ArgumentParser()
        new_method.add_parser(parser.add_subparsers())
        code = new_method.run(parser.parse_args(['new-method', *argv]))
        return code, *capsys.readouterr()

    code, out, _ = run('toy', '--kind', 'loss', '--title', 'TOY')
    assert code == 0
    written = out.splitlines()[:-1]
    assert 'mmdet_assigners/models/losses/toy_loss.py' in written
    assert all((tree / name).is_file() for name in written)
    assert '`TOYLoss`' in (tree / 'METHODS.md').read_text()
    index = (tree / 'model-index.yml').read_text()
    assert index == 'Import:\n  - configs/toy/metafile.yml\n'
    assert run('toy', '--kind', 'loss', '--title', 'X')[0] == 1
    code, _, err = run('toy', '--kind', 'los')
    assert (code, 'did you mean loss' in err) == (2, True)


def test_only_in_a_source_tree(tmp_path):
    package = tmp_path / 'site-packages' / 'mmdet_assigners'
    package.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match='works in a source tree'):
        new_method.source_root(package)
    assert new_method.source_root() == ROOT


def test_add_import_keeps_the_order():
    source = '"""Doc."""\n\nfrom .a import A\nfrom .m import (\n    M,\n)\n'
    first = new_method.add_import(source, 'from .b import B')
    assert first.splitlines()[2:4] == ['from .a import A', 'from .b import B']
    last = new_method.add_import(source, 'from .z import Z')
    assert last.splitlines()[-2:] == [')', 'from .z import Z']
    assert (
        new_method.add_import('', 'from .b import B') == 'from .b import B\n'
    )
    assert new_method.add_import(source, 'from .a import A') == source


def test_every_base_exists_in_mmdet():
    import mmdet

    configs = Path(mmdet.__file__).parent / '.mim' / 'configs'
    for base in BASES.values():
        assert (configs / base.config).is_file()
    assert MARK == 'TODO' + '(new-method)'
