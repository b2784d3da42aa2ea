"""Puts configs and tools where mim and mmengine look for them (`.mim`)."""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
MIM_CONTENT = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            self._link(ROOT / 'mmdet_assigners' / '.mim')
        else:
            self._copy(Path(self.build_lib) / 'mmdet_assigners' / '.mim')

    @staticmethod
    def _link(target):
        target.mkdir(exist_ok=True)
        for name in MIM_CONTENT:
            link = target / name
            if link.is_symlink():
                link.unlink()
            link.symlink_to(os.path.relpath(ROOT / name, target))

    @staticmethod
    def _copy(target):
        shutil.rmtree(target, ignore_errors=True)  # `build/` may be stale
        target.mkdir(parents=True)
        for name in MIM_CONTENT:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source,
                    target / name,
                    ignore=shutil.ignore_patterns('__pycache__'),
                )
            else:
                shutil.copy2(source, target / name)


setup(cmdclass={'build_py': BuildWithMim})
