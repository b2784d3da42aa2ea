"""What mmengine's Runner leaves in a work folder, read and not executed."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..diagnostics.checkpoints import read_literals

_STOPPED = re.compile(
    ' - INFO - (the monitored metric did not improve in the last |'
    'Stopping threshold reached: )'
)
_TIMES = ('time', 'data_time')


@dataclass
class Log:
    """The scalars of a training, after all its resumes.

    Attributes:
        steps: Step -> entry of the log of a training iteration.
        evaluations: Epoch or iteration -> metrics as the evaluator names
            them; None where one is not finite.
    """

    steps: dict[int, dict[str, Any]] = field(default_factory=dict)
    evaluations: dict[int, dict[str, float | None]] = field(
        default_factory=dict
    )

    def values(self, name: str) -> dict[int, float]:
        """Step -> value of a scalar, where it was logged and is finite."""
        found = {step: entry.get(name) for step, entry in self.steps.items()}
        return {
            step: float(value)
            for step, value in found.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }


def read_scalars(work_dir: Path) -> Log:
    """Read ``*/vis_data/scalars.json``, oldest first.

    A later file replaces the entries of the steps that it trains again. Lines
    that are no JSON are skipped: the process was killed while it wrote them.
    """
    log = Log()
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        first = True
        for line in path.read_text('utf-8', errors='replace').splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if not isinstance(entry, dict):
                continue
            entry = _without_mode(entry)
            if 'iter' not in entry and 'loss' not in entry:
                step = int(entry.pop('step', 0))
                log.evaluations[step] = finite(entry)
                continue
            step = int(entry.get('step', len(log.steps) + 1))
            if first:
                _forget(log, step, entry.get('epoch', step))
                first = False
            log.steps[step] = entry
    return log


def finite(metrics: dict[str, Any]) -> dict[str, float | None]:
    """The numbers among metrics, None where one is not finite."""
    return {
        name: float(value) if math.isfinite(value) else None
        for name, value in metrics.items()
        if isinstance(value, int | float) and name not in _TIMES
    }


def _without_mode(entry: dict[str, Any]) -> dict[str, Any]:
    """Names without the mode that ``log_with_hierarchy`` puts before them."""
    for mode in ('train/', 'val/'):
        if f'{mode}time' in entry:
            return {
                key.removeprefix(mode): value for key, value in entry.items()
            }
    return entry


def _forget(log: Log, step: int, unit: int) -> None:
    """Remove what a resumed training does again, from ``step`` on."""
    for one in [one for one in log.steps if one >= step]:
        del log.steps[one]
    for one in [one for one in log.evaluations if one >= unit]:
        del log.evaluations[one]


def read_config(work_dir: Path) -> dict[str, Any]:
    """The literals of the config that was trained with; empty: no config.

    A test in the same folder leaves a config, too, but no training steps.
    """
    dumps = sorted(work_dir.glob('*/vis_data/config.py'), reverse=True)
    dumps.sort(key=lambda path: not _trains(path.with_name('scalars.json')))
    for path in [*dumps, *sorted(work_dir.glob('*.py'))]:
        found = read_literals(path.read_text('utf-8', errors='replace'))
        if 'model' in found or 'train_cfg' in found:
            return found
    return {}


def _trains(scalars: Path) -> bool:
    return scalars.is_file() and scalars.stat().st_size > 0


def read_environment(work_dir: Path) -> dict[str, str]:
    """What the newest log of a training says of its environment.

    Returns:
        dict: Of ``python``, ``torch``, ``mmengine``, ``gpu``, ``processes``
        and ``seed`` those that it names.
    """
    patterns = {
        'python': r'^    Python: (\S+)',
        'torch': r'^    PyTorch: (\S+)',
        'mmengine': r'^    MMEngine: (\S+)',
        'gpu': r'^    GPU 0[\d,]*: (.+?) *$',
        'processes': r'^    GPU number: (\d+)',
        'seed': r'^    seed: (\d+)',
    }
    for path in sorted(work_dir.glob('*/*.log'), reverse=True):
        with path.open(encoding='utf-8', errors='replace') as stream:
            text = stream.read(20_000)
        found = {
            name: match[1]
            for name, pattern in patterns.items()
            if (match := re.search(pattern, text, re.MULTILINE))
        }
        if 'torch' in found:
            return found
    return {}


def was_stopped(work_dir: Path) -> bool:
    """Whether mmengine's EarlyStoppingHook ended the newest training.

    Not if it did because the metric was NaN or infinite.
    """
    folders = [
        path.parents[1]
        for path in work_dir.glob('*/vis_data/scalars.json')
        if _trains(path)
    ]
    if not folders:
        return False
    return any(
        _STOPPED.search(path.read_text('utf-8', errors='replace'))
        for path in max(folders).glob('*.log')
    )
