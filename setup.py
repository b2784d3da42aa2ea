"""Puts configs and tools where mim and mmengine look for them (`.mim`)."""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
# `mim train` and `mim test` run these two tools; the others are developers'.
MIM_CONTENT = ('configs', 'model-index.yml', 'tools/train.py', 'tools/test.py')


class BuildWithMim(build_py):
    def run(self):
        super().run()
        root = ROOT if self.editable_mode else Path(self.build_lib)
        target = root / 'mmdet_assigners' / '.mim'
        shutil.rmtree(target, ignore_errors=True)  # it may be stale
        for name in MIM_CONTENT:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if self.editable_mode:
                source = os.path.relpath(ROOT / name, (target / name).parent)
                (target / name).symlink_to(source)
            elif (ROOT / name).is_dir():
                ignore = shutil.ignore_patterns('__pycache__')
                shutil.copytree(ROOT / name, target / name, ignore=ignore)
            else:
                shutil.copy2(ROOT / name, target / name)


setup(cmdclass={'build_py': BuildWithMim})
