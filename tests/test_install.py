"""The commands of docs/install.md, as they stand there.

The slow tests run them in fresh environments, on what git has committed. They
need a package index. mmcv is compiled unless the cache of
``tools/setup_env.sh`` has it for this Python and torch.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet_assigners.diagnostics.environment import MMCV_COMMAND

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r'<!-- (?:not )?run: (\w+) -->\n```bash\n(.*?)```', re.S)
BLOCKS = dict(BLOCK.findall((ROOT / 'docs' / 'install.md').read_text()))
URL = 'https://github.com/mmdet-assigners/mmdet_assigners'
# settings of the running `make` and environment that would shine through
OURS = {'MAKEFLAGS', 'MAKELEVEL', 'PYTHON', 'STACK', 'VENV', 'VIRTUAL_ENV'}
TRAIN = """
mmdet-assigners train sepc_retinanet_r50_fpn_1x_coco --mini --epochs 1 \
  --cfg-options train_dataloader.dataset.indices=4 \
  val_dataloader.dataset.indices=4
"""
# a project with mmdet 3.3 that never heard of this package
PROJECT = """
pip uninstall --yes mmdet_assigners
rm -rf mmdet_assigners
pip freeze > before
"""
UNCHANGED = """
pip freeze --exclude mmdet_assigners > after
diff before after
"""
WAYS = {
    'make': '{make}',
    'clone': '{mmcv}{clone}',
    'wheel': '{mmcv}{wheel}{openmim}mim search mmdet_assigners --model sepc\n',
    'existing': '{mmcv}{clone}' + PROJECT + '{existing}' + UNCHANGED,
    'onedl': '{mmcv}{onedl}',
}


def environment():
    """This one, but from a plain Python, with our clone and compiled mmcv."""
    kept = {k: v for k, v in os.environ.items() if k not in OURS}
    cache = Path(kept.get('XDG_CACHE_HOME', Path.home() / '.cache'))
    key = f'2.1.0-torch{torch.__version__}-{sys.implementation.cache_tag}-*'
    links = (cache / 'mmdet_assigners' / 'mmcv').glob(key)
    links = [kept.get('PIP_FIND_LINKS', ''), *map(str, links)]
    return kept | dict(
        PATH=f'{Path(sys.base_prefix) / "bin"}:{kept["PATH"]}',
        PIP_FIND_LINKS=' '.join(links),
        OMP_NUM_THREADS='1',
        GIT_CONFIG_COUNT='1',
        GIT_CONFIG_KEY_0=f'url.{ROOT}.insteadOf',
        GIT_CONFIG_VALUE_0=URL,
    )


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    shutil.rmtree(tmp_path)  # gigabytes, which pytest would keep


@pytest.mark.slow
@pytest.mark.parametrize('way', WAYS)
def test_way(way, folder):
    if not (ROOT / '.git').exists():
        pytest.skip('not a clone')
    script = WAYS[way].format(**BLOCKS) + TRAIN
    done = subprocess.run(
        ['bash', '-exo', 'pipefail', '-c', script],
        cwd=folder,
        env=environment(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert 'verdict: all is well' in done.stdout
    assert 'Epoch(train) [1][1/1]' in done.stdout


def test_readme_has_the_first_way():
    assert BLOCKS['make'] in (ROOT / 'README.md').read_text()


def test_check_repairs_mmcv_with_the_documented_lines():
    for line in MMCV_COMMAND.split(' && '):
        assert line in BLOCKS['mmcv'].splitlines()


def test_dockerfile_runs_the_documented_lines():
    text = (ROOT / 'Dockerfile').read_text()
    lines = BLOCKS['prebuilt'].splitlines()
    assert lines.pop(0) == f'git clone {URL}'  # there: COPY
    assert lines.pop(1) == 'source detection/bin/activate'  # there: PATH
    steps = re.split(r'^(?:RUN|CMD) | \\\n *&& |\n', text, flags=re.M)
    check = str(lines.pop().split()).replace("'", '"')
    assert [step for step in steps if step in [*lines, check]] == [
        *lines,
        check,
    ]
