import subprocess
import sys
from pathlib import Path

import pytest

from mmdet_assigners import __version__
from mmdet_assigners.__main__ import COMMANDS, main


def test_unknown_command_names_the_nearest(capsys):
    assert main(['trian']) == 2
    assert 'did you mean train?' in capsys.readouterr().err


def test_hopeless_command_lists_all(capsys):
    assert main(['qqqq']) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in COMMANDS)


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit, match='0'):
        main(['--help'])
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit, match='0'):
        main(['--version'])
    assert capsys.readouterr().out.strip() == __version__


def test_module_is_executable():
    done = subprocess.run(
        [sys.executable, '-m', 'mmdet_assigners', '--version'],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


@pytest.mark.parametrize(
    ('arguments', 'code'),
    [
        ('--help', 0),
        ('list --configs', 1),
        ('show sepc_atss_r50_fpn_1x_coco', 1),
    ],
)
def test_a_closed_pipe_is_no_traceback(arguments, code):
    """`mmdet-assigners list | head` ends the output early."""
    command = [sys.executable, '-W', 'ignore', '-m', 'mmdet_assigners']
    process = subprocess.Popen(
        [*command, *arguments.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == code
    assert 'pipe' not in errors.lower()
    assert 'Traceback' not in errors
    process.stderr.close()


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no /dev/full')
def test_a_full_disk_is_one_line():
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            [sys.executable, '-m', 'mmdet_assigners', 'list'],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'No space left on device' in line
