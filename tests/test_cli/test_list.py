"""`list`: filters, typos, and an answer without torch."""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mmdet_assigners.__main__ import main
from mmdet_assigners.catalog import (
    MetafileError,
    Method,
    Model,
    Published,
    Reference,
)
from mmdet_assigners.cli import list as list_command

ROOT = Path(__file__).parents[2]


def model(name, **facts):
    return Model(name, f'configs/x/{name}.py', **facts)


TOY_A = model(
    'toy_a',
    description='the neck alone',
    metadata={'Baseline': 'mmdet::toy.py'},
    published=(Published('box AP', 40.2, 'COCO val', 'paper, table 3'),),
)
METHODS = [
    Method(
        'toy',
        'Toy',
        'a toy',
        'CVPR 2020',
        ('neck', 'head'),
        Reference('Toys for All', 'https://arxiv.org/abs/1'),
        'M1',
        ('ToyNeck',),
        (),
        (TOY_A, model('toy_b')),
    ),
    Method(
        'game',
        'Game',
        'a game',
        'CVPR 2021',
        ('loss',),
        Reference('Games', 'https://arxiv.org/abs/22'),
        'M0',
        ('GameLoss',),
        (),
        (model('game_c'),),
    ),
]


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.setattr(list_command, 'read_catalog', lambda: METHODS)

    def call(*argv):
        parser = argparse.ArgumentParser()
        list_command.add_parser(parser.add_subparsers())
        code = list_command.run(parser.parse_args(['list', *argv]))
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return call


def test_table(run):
    assert run() == (
        0,
        [
            'METHOD  CATEGORIES  STATUS  CONFIGS  PAPER',
            'toy     neck, head  M1      2        Toys for All',
            'game    loss        M0      1        Games',
        ],
        '',
    )


def test_one_method_lists_its_configs(run):
    assert run('toy') == (
        0,
        [
            'METHOD  CATEGORIES  STATUS  CONFIGS  PAPER',
            'toy     neck, head  M1      2        Toys for All',
            '',
            'CONFIG  WHAT            PUBLISHED                               '
            'BASELINE',
            'toy_a   the neck alone  box AP 40.2 (COCO val; paper, table 3) '
            ' mmdet::toy.py',
            'toy_b   -               -                                       '
            '-',
        ],
        '',
    )
    assert len(run('*')[1]) == 3


def test_tables_of_a_method(capsys):
    assert main(['list', 'gfl']) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == (
        'tables, for `table run gfl/TABLE`: losses, quality, detectors, beta, '
        'prior, bins'
    )


@pytest.mark.parametrize(
    ('argv', 'configs'),
    [
        ((), ['toy_a', 'toy_b', 'game_c']),
        (('--kind', 'head'), ['toy_a', 'toy_b']),
        (('--status', 'M0'), ['game_c']),
        (('--paper', 'FOR ALL'), ['toy_a', 'toy_b']),
        (('--paper', 'abs/22'), ['game_c']),
        (('TOY',), ['toy_a', 'toy_b']),
        (('ga*',), ['game_c']),
        (('GameLoss',), ['game_c']),
        (('toy_b',), ['toy_a', 'toy_b']),
    ],
)
def test_filters(run, argv, configs):
    assert run(*argv, '--configs') == (0, configs, '')


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (('tpy',), "no method 'tpy'; did you mean toy"),
        (('gamelos',), 'did you mean GameLoss'),
        (('qqqqqq',), "no method 'qqqqqq'; there are toy, game"),
        (('--kind', 'hed'), "--kind 'hed': did you mean head"),
        (('--status', 'M7'), "--status 'M7': did you mean M"),
        (('--kind', 'loss', '--status', 'M1'), 'no method passes all'),
    ],
)
def test_typos_end_with_code_2(run, argv, message):
    code, out, err = run(*argv)
    assert (code, out) == (2, [])
    assert message in err


def test_a_broken_metafile_ends_with_code_1(run, monkeypatch):
    def broken():
        raise MetafileError('configs/x/metafile.yml: broken')

    monkeypatch.setattr(list_command, 'read_catalog', broken)
    assert run()[::2] == (
        1,
        'mmdet-assigners list: configs/x/metafile.yml: broken\n',
    )


def test_module_run_imports_no_torch():
    env = {**os.environ, 'PYTHONPROFILEIMPORTTIME': '1'}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, '-m', 'mmdet_assigners', 'list'],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith('METHOD')
    imported = {
        line.rpartition('|')[2].strip() for line in done.stderr.split('\n')
    }
    assert 'mmdet_assigners.catalog' in imported
    assert not imported & {'torch', 'mmengine', 'mmcv', 'mmdet', 'numpy'}
    # processor time: the machine may be busy with other tests
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 1


def test_script_imports_no_torch(tmp_path):
    script = tmp_path / 'mmdet-assigners'
    script.write_text(
        'import argparse, sys\n'
        'from mmdet_assigners.cli import list as command\n'
        'parser = argparse.ArgumentParser()\n'
        'command.add_parser(parser.add_subparsers())\n'
        'code = command.run(parser.parse_args(sys.argv[1:]))\n'
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        'sys.exit(code)\n'
    )
    done = subprocess.run(
        [sys.executable, script, 'list'],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
