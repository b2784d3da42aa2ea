"""Training runs and their results, for the demo and the tables.

A run is a subprocess of the ``train`` command, so a table reports what a user
gets from the printed command. A finished run is not repeated; an interrupted
one is resumed.
"""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import write_json
from .tables import markdown
from .versions import measured_versions

METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')
MASK_METRICS = ('segm_mAP',)
_PR_SET_PDEATHSIG = 1  # of Linux' prctl
_TAIL = 3
_children: set[subprocess.Popen] = set()


class CallError(RuntimeError):
    """A command in a process of its own failed.

    Args:
        message: The command, its exit code and its last line.
        tail: The last lines of its log.
    """

    def __init__(self, message: str, tail: Sequence[str]) -> None:
        super().__init__(message)
        self.tail = list(tail)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        config: Name of our config, or ``mmdet::name``.
        data: Name or root of the dataset; None: the files of the config.
        epochs: Length of the schedule; None: that of the form.
        seed: Seed of the weights and of the order of the images.
        eval_on: Split that is evaluated.
        options: Further changes of the config, ``KEY=VALUE``.
        form: ``mini`` or ``small``, see `mmdet_assigners.small_scale`, or
            ``full``: the config as it is.
    """

    config: str
    data: str | None
    epochs: int | None
    seed: int = 0
    eval_on: str = 'val'
    options: tuple[str, ...] = ()
    form: str = 'mini'

    @property
    def name(self) -> str:
        """Folder name of the run, without its options."""
        parts = [Path(self.config).stem]
        parts += [Path(self.data).name] if self.data else []
        parts += [f'{self.epochs}e'] if self.epochs else []
        return '_'.join([*parts, f's{self.seed}'])

    def arguments(self) -> list[str]:
        """Arguments of ``mmdet-assigners`` that make this run."""
        arguments = ['train', self.config, *self.dataset_arguments()]
        if self.epochs:
            arguments += ['--epochs', str(self.epochs)]
        arguments += ['--seed', str(self.seed)]
        if self.eval_on != 'val':
            arguments += ['--eval-on', self.eval_on]
        if self.options:
            arguments += ['--cfg-options', *self.options]
        return arguments

    def dataset_arguments(self) -> list[str]:
        """Form and data, of ``train`` and ``test`` alike."""
        form = [] if self.form == 'full' else [f'--{self.form}']
        return [*form, '--data', self.data] if self.data else form


def execute(run: Run, work_dir: Path, quiet: bool = False) -> dict[str, Any]:
    """Train, or resume, or read the result of a finished run.

    Args:
        run: What to train.
        work_dir: Folder of checkpoints, logs and ``result.json``.
        quiet: Don't print the progress; ``train.log`` has it anyway.

    Returns:
        The content of ``result.json``: final metrics, also per class, the
        evaluated epochs with their mAP, median seconds per iteration,
        parameters, versions.

    Raises:
        RuntimeError: The training failed (the message names its log), or
            ``work_dir`` has the result of another run.
    """
    result_file = work_dir / 'result.json'
    if result_file.is_file():
        result = json.loads(result_file.read_text())
        if result['command'] == _command(run):
            return result
        raise RuntimeError(
            f'{work_dir} holds the result of another run '
            f'({result["command"]}); remove it or choose another folder'
        )
    command = [*run.arguments(), '--work-dir', str(work_dir), '--resume']
    call(command, work_dir / 'train.log', '' if quiet else run.name)
    result = _collect(run, work_dir)
    write_json(result_file, result)
    return result


def call(
    arguments: Sequence[str],
    log: Path,
    name: str = '',
    processes: int = 1,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Call a command of this package in a process of its own.

    Args:
        arguments: Of ``mmdet-assigners``.
        log: File to which its output is appended; its folder is created.
        name: What the progress of a training is printed with; empty: it is
            not printed.
        processes: With several, `torchrun` starts them on this machine.
        environment: Variables to set.

    Raises:
        CallError: It failed; the message has its last line, and the log.
    """
    command = [sys.executable, '-m']
    if processes > 1:
        # standalone: each chooses a free port
        command += ['torch.distributed.run', '--standalone']
        command += ['--nproc-per-node', str(processes), '-m']
    command += [__package__, *arguments]
    if processes > 1:
        command += ['--launcher', 'pytorch']
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a', buffering=1) as stream:  # line by line, for `tail -f`
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
            preexec_fn=_end_with_parent,
        )
        _children.add(process)
        assert process.stdout is not None
        for line in process.stdout:
            stream.write(line)
            if name and (progress := re.search(r'Epoch\(.*', line)):
                print(f'{name}: {progress[0]}', flush=True)
    code = process.wait()
    _children.discard(process)
    if code != 0:
        lines = log.read_text(errors='replace').split('\n')
        said = [line for line in lines if line.strip()]
        # torchrun prints a report behind it
        ours = [line for line in said if line.startswith('mmdet-assigners: ')]
        tail = ours[-1:] or said[-_TAIL:] or ['it printed nothing']
        ended = f'failed with exit code {code}'
        if code < 0:
            ended = f'was ended by signal {-code}'
            ended += ', as when memory runs out' * (code == -signal.SIGKILL)
        raise CallError(
            f'{tail[-1]} (`{" ".join(["mmdet-assigners", *arguments])}` '
            f'{ended}; {log})',
            tail,
        )


def stop_children() -> None:
    """End the processes that :func:`call` runs in other threads."""
    for process in list(_children):
        process.terminate()


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent dies (on Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def result_table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown table of several runs, a row each.

    Args:
        results: Label -> result, see :func:`execute`.
    """
    header = ('run', 'mAP', 'AP50', 'AP75', 's / iter', 'parameters', 'epochs')
    return markdown(
        header,
        [
            (
                label,
                *(f'{result[metric]:.3f}' for metric in METRICS),
                f'{result["seconds_per_iter"]:.3f}',
                f'{result["parameters"] / 1e6:.2f} M',
                str(result['epochs']),
            )
            for label, result in results.items()
        ],
    )


def _command(run: Run) -> str:
    return ' '.join(['mmdet-assigners', *run.arguments()])


def _collect(run: Run, work_dir: Path) -> dict[str, Any]:
    import torch

    from .reproduction.results import collect

    try:
        result = collect(work_dir, here=True)
    except FileNotFoundError:
        result = None
    if result is None or not (
        result.parameters and result.curve_epochs and result.seconds_per_iter
    ):
        raise RuntimeError(
            f'{work_dir} has no complete training: expected a checkpoint, and '
            'losses and an evaluation in */vis_data/scalars.json'
        )
    # an evaluation has no metrics without detections
    none = [None] * len(result.curve_epochs)
    curve = result.curve.get('coco/bbox_mAP', none)
    return {
        'config': run.config,
        'data': Path(run.data or '').name,
        'epochs': run.epochs or max(result.curve_epochs),
        'seed': run.seed,
        'eval_on': run.eval_on,
        'last_epoch': max(result.curve_epochs),
        **{m: result.metrics.get(f'coco/{m}', 0.0) for m in METRICS},
        **{
            m: result.metrics[f'coco/{m}']
            for m in MASK_METRICS
            if f'coco/{m}' in result.metrics
        },
        'per_class': result.per_class,
        'curve': [value or 0.0 for value in curve],
        'curve_epochs': result.curve_epochs,
        'seconds_per_iter': result.seconds_per_iter,
        'parameters': result.parameters,
        'threads': torch.get_num_threads(),
        'command': _command(run),
        'versions': measured_versions(),
    }
