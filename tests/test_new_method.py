"""`tools/dev/new_method.py`: complete, clean stubs that fail until written."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import new_method
import pytest
from new_method import BASES, CATEGORIES, FOLDERS, MARK

from mmdet_assigners import catalog

ROOT = Path(__file__).parents[1]
FEATURES = [(category, None) for category in CATEGORIES] + [
    ('assigner', 'faster-rcnn'),
    ('coder', 'faster-rcnn'),
    ('detector', 'faster-rcnn'),
    ('head', 'atss'),
    ('head', 'fcos'),
    ('loss', 'faster-rcnn'),
]
# What lists all methods; written by generate_index.py.
GENERATED = {
    'METHODS.md',
    'README.md',
    'docs/quick_form.md',
    'docs/small_scale.md',
    'model-index.yml',
}


def names_of(number):
    """A slug and a title, as long as can be."""
    return (
        f'the_longest_name_that{number:02}',
        f'TheLongestNameThatFit{number:02}',
    )


def call(tree, *command):
    env = dict(os.environ, PYTHONPATH=str(tree), OMP_NUM_THREADS='1')
    env['COLUMNS'] = '200'  # pytest cuts reasons to the width
    return subprocess.run(
        [sys.executable, '-W', 'ignore', *command],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
    )


def copy_tree(target):
    """The repository without its methods, which take long to import."""
    names = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        parts = Path(name).parts
        method = 'methods' in parts[:2] and len(parts) > 3
        config = parts[0] == 'configs' and len(parts) > 2
        if (method or (config and parts[1] != '_base_')) or not (
            ROOT / name
        ).is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return target


def contents(tree):
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in tree.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


@pytest.fixture(scope='module')
def generated(tmp_path_factory):
    """A tree with a method of every category, and its new Python files."""
    tree = copy_tree(tmp_path_factory.mktemp('tree'))
    files = {}
    for number, (category, base) in enumerate(FEATURES):
        slug, title = names_of(number)
        files |= new_method.plan(tree, slug, category, base, title)
    new_method.write(files)
    return tree, [str(path) for path in files if path.suffix == '.py']


def test_every_category_of_the_catalog():
    assert sorted(catalog.CATEGORIES) == CATEGORIES


def test_generated_code_is_clean(generated):
    tree, files = generated
    assert len(files) == 9 * len(FEATURES)
    for command in (['check', '--no-cache'], ['format', '--check']):
        done = call(tree, '-m', 'ruff', *command, *files)
        assert done.returncode == 0, done.stdout + done.stderr


def test_generated_tests_fail_until_written(generated):
    tree, files = generated
    done = call(
        tree, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/methods'
    )
    out = done.stdout
    assert done.returncode == 1, out[-3000:] + done.stderr[-1000:]
    tests = sum(
        node.name.startswith('test_')
        for file in files
        for node in ast.walk(ast.parse(Path(file).read_text()))
        if isinstance(node, ast.FunctionDef)
    )
    # importable, registered, and each of them reaches the stub
    assert f'{tests} failed' in out.splitlines()[-1]
    reasons = re.findall(r'^FAILED \S+ - (.*)', out, re.MULTILINE)
    assert len(reasons) == tests
    assert [r for r in reasons if 'is not written yet' not in r] == []


def test_configs_name_the_class(generated):
    tree, files = generated
    code = (
        'import sys\n'
        'from mmdet_assigners import get_config\n'
        'for name in sys.argv[1:]:\n'
        '    assert "TheLongest" in get_config(name).pretty_text, name\n'
    )
    configs = [Path(f).stem for f in files if '/configs/' in f]
    assert len(configs) == len(FEATURES)
    done = call(tree, '-c', code, *configs)
    assert done.returncode == 0, done.stderr[-2000:]


def test_changes_nothing_outside_its_folders(tmp_path):
    tree = copy_tree(tmp_path)
    assert call(tree, 'tools/dev/generate_index.py').returncode == 0
    before = contents(tree)
    command = ('tools/dev/new_method.py', 'toy', '--category', 'neck')
    command += ('--unpublished',)
    done = call(tree, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    own = tuple(f'{f}/'.replace('$slug', 'toy') for f in FOLDERS.values())
    after = contents(tree)
    changed = {name for name in after if after[name] != before.get(name)}
    outside = {name for name in changed if not name.startswith(own)}
    assert before.keys() - after.keys() == set()
    assert outside == GENERATED
    listed = set(done.stdout.splitlines()) & after.keys()
    assert listed == changed - outside
    assert '| unpublished |' in after['METHODS.md'].decode()
    assert not any('convert' in name for name in listed)

    # what is left to do is in the three folders, and listed from there
    done = call(tree, 'tools/dev/check_repo.py')
    assert done.returncode == 1
    toy = [line for line in done.stdout.splitlines() if 'toy' in line]
    places = (*own, *GENERATED)
    assert [line for line in toy if not line.startswith(places)] == []
    for file in listed:
        marked = MARK in after[file].decode()
        assert any(line.startswith(file) for line in toy) == marked
    assert any('manifest.json' in line for line in toy)

    # the way back leaves what was changed
    mine = tree / 'mmdet_assigners/methods/toy/functional.py'
    mine.write_text('mine')
    done = call(tree, *command, '--undo')
    assert done.returncode == 0, done.stdout + done.stderr
    name = mine.relative_to(tree).as_posix()
    assert done.stdout.splitlines()[:2] == [
        name,
        'These were changed since they were written: they stay.',
    ]
    assert contents(tree).keys() == before.keys() | {name}
    mine.unlink()
    done = call(tree, *command, '--undo')
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tree) == before
    assert not mine.parent.exists()


@pytest.fixture
def tree(tmp_path):
    (tmp_path / 'mmdet_assigners').mkdir()
    return tmp_path


def test_refuses_to_overwrite_and_writes_nothing(tree):
    taken = tree / 'configs' / 'toy' / 'README.md'
    taken.parent.mkdir(parents=True)
    taken.write_text('mine')
    with pytest.raises(FileExistsError, match=r'already configs/toy$'):
        new_method.plan(tree, 'toy', 'neck')
    assert contents(tree) == {'configs/toy/README.md': b'mine'}


def test_refuses_class_names_in_use(tree):
    with pytest.raises(ValueError, match='ATSSHead; expected an unused'):
        new_method.plan(tree, 'mine', 'head', title='ATSS')
    new_method.write(new_method.plan(tree, 'one', 'neck', title='Toy'))
    with pytest.raises(ValueError, match=r'one/neck.py has a class ToyNeck'):
        new_method.plan(tree, 'two', 'neck', title='Toy')


def test_write_is_all_or_nothing(tree):
    files = new_method.plan(tree, 'toy', 'neck')
    (tree / 'tests').touch()  # no folder can be made below it
    with pytest.raises(OSError):
        new_method.write(files)
    assert contents(tree) == {'tests': b''}


@pytest.mark.parametrize(
    ('slug', 'category', 'base', 'title', 'message'),
    [
        ('Toy', 'neck', None, None, "NAME 'Toy': expected snake case"),
        ('toy-a', 'neck', None, None, "NAME 'toy-a'"),
        ('../toy', 'neck', None, None, 'expected snake case'),
        ('class', 'neck', None, None, "NAME 'class'"),
        ('a' * 24, 'neck', None, None, 'at most 23 characters'),
        ('toy', 'nek', None, None, "--category 'nek': did you mean neck"),
        (
            'toy',
            'method',
            None,
            None,
            "--category 'method': did you mean metric",
        ),
        ('toy', 'neck', 'fco', None, "--base 'fco': did you mean fcos"),
        ('toy', 'head', 'faster-rcnn', None, 'expected retinanet or atss'),
        ('toy', 'roi_head', 'atss', None, 'expected faster-rcnn'),
        ('toy', 'assigner', 'fcos', None, 'no place for --category assigner'),
        ('toy', 'neck', None, 'my toy', "--title 'my toy': expected a class"),
    ],
)
def test_bad_arguments(tree, slug, category, base, title, message):
    with pytest.raises(ValueError, match=message):
        new_method.plan(tree, slug, category, base, title)
    assert contents(tree) == {}


def test_exit_codes(tree, capsys):
    command = ['toy', '--category', 'los']
    assert new_method.main(command, tree) == 2
    assert 'did you mean loss' in capsys.readouterr().err
    (tree / 'configs' / 'toy').mkdir(parents=True)
    assert new_method.main(['toy', '--category', 'loss'], tree) == 1
    assert 'already configs/toy' in capsys.readouterr().err


def test_every_base_exists_in_mmdet():
    import mmdet

    configs = Path(mmdet.__file__).parent / '.mim' / 'configs'
    for base in BASES.values():
        assert (configs / base.config).is_file()
        assert set(base.without) <= set(CATEGORIES)
