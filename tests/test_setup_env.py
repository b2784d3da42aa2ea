"""The set-up script: what it says when something is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / 'tools' / 'setup_env.sh'
# All that the script calls besides Python; no compiler, no python3.
COMMANDS = (
    'awk', 'bash', 'cat', 'cksum', 'df', 'dirname', 'env', 'find', 'grep',
    'head', 'mkdir', 'mktemp', 'mv', 'rm', 'sed', 'sleep', 'tail', 'tr',
)  # fmt: skip
PROBLEM = 3  # exit code of a problem that the script explains


@pytest.fixture
def tools(tmp_path):
    """A folder for PATH: only what the script needs."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in COMMANDS:
        path = shutil.which(name)
        assert path, f'{name} is not installed'
        (folder / name).symlink_to(path)
    return folder


def script(folder, name, text):
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def setup(tmp_path, tools):
    """Run the script with an empty cache, without network or compiler."""

    def run(**environment):
        base = dict(
            HOME=str(tmp_path),
            PATH=str(tools),
            PYTHON=sys.executable,
            VENV=str(tmp_path / 'venv'),
            XDG_CACHE_HOME=str(tmp_path / 'cache'),
            PIP_CONFIG_FILE=os.devnull,
            PIP_INDEX_URL='http://127.0.0.1:9/simple',
            PIP_RETRIES='0',
        )
        return subprocess.run(
            ['bash', str(SCRIPT)],
            env=base | environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


def explains(done, *words):
    assert done.returncode == PROBLEM, done.stderr
    assert 'setup: error: ' in done.stderr
    assert 'stopped at line' not in done.stderr
    for word in words:
        assert word in done.stderr


def test_syntax():
    subprocess.run(['bash', '-n', str(SCRIPT)], check=True)
    subprocess.run(['bash', '-n', str(ROOT / '.ci' / 'run')], check=True)


def test_unknown_stack(setup):
    explains(setup(STACK='mm'), "STACK is 'mm'", 'openmmlab or onedl')


def test_python_too_old(setup, tools):
    old = script(tools, 'old', '[ "$1" = --version ] && echo 3.8; exit 1')
    explains(setup(PYTHON=str(old)), 'no Python >= 3.10', '3.8', 'PYTHON=')


def test_no_python(setup):
    explains(setup(PYTHON=''), 'no Python >= 3.10', 'python3.13')


def test_disk_full(setup, tools):
    script(tools, 'df', 'echo header; echo d 9 9 1048576 9 /')
    done = setup()
    explains(done, 'only 1 GB free', 'about 6 GB', 'XDG_CACHE_HOME')


def test_no_compiler_fails_before_any_download(setup, tmp_path):
    done = setup()
    explains(done, 'no C++ compiler', 'apt-get install g++')
    assert not (tmp_path / 'cache' / 'mmdet_assigners' / 'wheels').exists()


def test_no_network_and_cold_cache(setup, tools):
    script(tools, 'c++', 'exit 0')
    explains(setup(), 'cannot get pip, setuptools', 'no network?', 'cache')


def test_broken_environment(setup, tmp_path):
    (tmp_path / 'venv' / 'bin').mkdir(parents=True)
    (tmp_path / 'venv' / 'pyvenv.cfg').touch()
    explains(setup(), 'does not start', 'rm -rf')


def test_a_folder_of_the_users(setup, tmp_path):
    """It is not called an environment, which one removes."""
    for name in ('mine', 'file'):
        path = tmp_path / name
        path.touch() if name == 'file' else path.mkdir()
        done = setup(VENV=str(path))
        explains(done, 'not a virtual environment')
        assert 'rm -rf' not in done.stderr and path.exists()


def test_foreign_stack_in_the_environment(setup, tmp_path):
    venv = tmp_path / 'venv'
    subprocess.run(
        [sys.executable, '-m', 'venv', '--without-pip', str(venv)], check=True
    )
    packages = next(venv.glob('lib/python*/site-packages'))
    (packages / 'pip.py').touch()
    record = packages / 'mmdet-3.3.0.dist-info'
    record.mkdir()
    (record / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: mmdet\nVersion: 3.3.0\n'
    )
    explains(setup(STACK='onedl'), 'holds mmdet', 'VENV=.venv-onedl')


def user_cache():
    home = os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')
    return Path(home) / 'mmdet_assigners'


@pytest.mark.slow
def test_warm_cache_needs_neither_network_nor_compiler(setup, tmp_path):
    cache = user_cache()
    if not list(cache.glob('mmcv/*/*.whl')) or not (cache / 'torch').is_dir():
        pytest.skip(f'{cache} is cold: run tools/setup_env.sh once')
    done = setup(XDG_CACHE_HOME=str(cache.parent))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith('venv is ready (openmmlab)')
    again = setup(XDG_CACHE_HOME=str(cache.parent))
    assert again.stdout.splitlines() == [
        f'setup: {tmp_path}/venv is ready (openmmlab)'
    ]
