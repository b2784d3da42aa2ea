"""The result of one training, read from its work folder."""

import dataclasses
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args, get_origin, get_type_hints

from ..files import write_json
from ..utils import leaf_datasets, type_name, walk_config
from ..versions import measured_versions
from .logs import (
    Log,
    finite,
    read_config,
    read_environment,
    read_scalars,
    was_stopped,
)


class NoTrainingError(FileNotFoundError):
    """A folder has neither the log of a training nor a checkpoint."""


FORMS = ('full', 'mini', 'small')
_CLASSWISE = '_precision'  # how CocoMetric(classwise=True) names a class
_LOSS_POINTS = 200


@dataclass(frozen=True)
class Result:
    """One training and what it reached.

    Attributes:
        config: Stem of the config file.
        data: Name of the dataset, the folder of its annotations.
        form: 'full', 'mini' or 'small' (see `mmdet_assigners.small_scale`).
        seed: Of the weights and of the order of the images; None if unknown.
        unit: 'epoch' or 'iteration': what ``epochs``, ``last_epoch`` and
            ``curve_epochs`` count.
        epochs: Length of the schedule.
        last_epoch: How far it is.
        metrics: The last evaluation (or a test), named by the evaluator, e.g.
            'coco/bbox_mAP'; None where a value is not finite.
        per_class: Name of a class -> its AP, empty if it was not evaluated.
        curve_epochs: When it was evaluated.
        curve: Name of a metric -> a value for each of ``curve_epochs``.
        loss_steps: Iterations of ``loss``, at most 200.
        loss: The total loss there.
        seconds_per_iter: Median over the training; None if not logged.
        memory_mib: Peak GPU memory, MiB; None on a CPU.
        parameters: Of the checkpoint, without buffers; None without one.
        commands: What to call to get the result, in this order.
        commit: Of the source tree; None if unknown.
        versions: Package -> version.
        hardware: 'cpu' and 'gpu' (name, or None), 'threads' and 'processes'
            (number, or None).
        work_dir: The folder it was read from.
        stopped: Whether mmengine's EarlyStoppingHook ended it, because the
            metric did not improve or is as good as was asked for.
    """

    config: str
    data: str
    form: str
    seed: int | None
    unit: str
    epochs: int
    last_epoch: int
    metrics: dict[str, float | None]
    per_class: dict[str, float | None]
    curve_epochs: list[int]
    curve: dict[str, list[float | None]]
    loss_steps: list[int]
    loss: list[float]
    seconds_per_iter: float | None
    memory_mib: float | None
    parameters: int | None
    commands: list[str]
    commit: str | None
    versions: dict[str, str]
    hardware: dict[str, str | int | None]
    work_dir: str
    stopped: bool = False

    @property
    def finished(self) -> bool:
        """Whether it ended: after the whole schedule, or early by plan."""
        return self.stopped or self.last_epoch >= self.epochs


def write(result: Result, path: str | Path) -> None:
    """Write a result as JSON, completely or not at all."""
    write_json(path, dataclasses.asdict(result))


def read(path: str | Path) -> Result:
    """Read what :func:`write` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no result; the message names the file and the entry.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no result {path}')
    try:
        content = json.loads(Path(path).read_text('utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is no JSON: {error}') from error
    hints = get_type_hints(Result)
    names = content.keys() if isinstance(content, dict) else set()
    # 'stopped' has a default: older files lack it
    if wrong := sorted((names | {'stopped'}) ^ hints.keys()):
        raise ValueError(
            f'{path} is no result of a training: '
            f'{", ".join(wrong[:3])} missing or unknown'
        )
    for name, value in content.items():
        hint = hints[name]
        if not _is_a(value, hint):
            raise ValueError(
                f'{path}: {name} is {str(value)[:40]!r}, expected '
                f'{getattr(hint, "__name__", hint)}'
            )
        if text := _infinite(value, name):
            raise ValueError(
                f'{path}: {text}, expected a finite number'
                f'{"" if name == "loss" else " or null"}'
            )
    result = Result(**content)
    lists = {f'curve {n}': c for n, c in result.curve.items()}
    _check_lengths(path, lists, 'curve_epochs', result.curve_epochs)
    _check_lengths(
        path, {'loss': result.loss}, 'loss_steps', result.loss_steps
    )
    return result


def _check_lengths(
    path: str | Path,
    lists: Mapping[str, list],
    name: str,
    positions: list[int],
) -> None:
    for key, values in lists.items():
        if len(values) != len(positions):
            raise ValueError(
                f'{path}: {key} has {len(values)} values, expected '
                f'{len(positions)}, one for each of {name}'
            )


def _infinite(value: Any, name: str) -> str:
    """The first number in a value of a JSON file that is not finite."""
    if isinstance(value, dict):
        inner = [(one, f'{name} {key}') for key, one in value.items()]
    elif isinstance(value, list):
        inner = [(one, f'{name}[{i}]') for i, one in enumerate(value)]
    elif isinstance(value, int | float) and not (
        abs(value) <= sys.float_info.max
    ):
        return f'{name} is {str(value)[:40]}'
    else:
        return ''
    return next(filter(None, (_infinite(*one) for one in inner)), '')


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value of a JSON file has an annotated type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(
            _is_a(one, arguments[0]) for one in value
        )
    if origin is dict:
        return isinstance(value, dict) and all(
            _is_a(one, arguments[1]) for one in value.values()
        )
    if arguments:
        return any(_is_a(value, one) for one in arguments)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def collect(
    work_dir: str | Path,
    checkpoint: str | Path | None = None,
    *,
    commands: Sequence[str] = (),
    here: bool = False,
) -> Result:
    """Read the work folder of any training with mmengine's Runner.

    Nothing of it is executed.

    Args:
        work_dir: The folder, with ``*/vis_data/scalars.json``.
        checkpoint: Its parameters are counted; by default the last one.
        commands: See :class:`Result`.
        here: This environment on this machine trained it. Otherwise only what
            the log of the training says is known of them.

    Raises:
        FileNotFoundError: There is no such folder.
        NoTrainingError: There is no training in it.
        CheckpointError: The checkpoints are damaged.
    """
    from ..diagnostics.checkpoints import find_last, load

    folder = Path(work_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no work folder {folder}')
    log, cfg = read_scalars(folder), read_config(folder)
    file = Path(checkpoint) if checkpoint else find_last(folder)
    weights = load(file) if file else {}
    if not log.steps and not log.evaluations and not file:
        raise NoTrainingError(
            f'{folder} has no training: expected losses in '
            '*/vis_data/scalars.json, or a checkpoint'
        )
    meta = weights.get('meta') or {}
    environment = read_environment(folder)
    unit, epochs, last = _progress(log, cfg, meta)
    metrics, per_class = _final(log, cfg)
    names = dict.fromkeys(
        name
        for entry in log.evaluations.values()
        for name in entry
        if not name.endswith(_CLASSWISE)
    )
    loss = _thinned(log.values('loss'))
    times = log.values('time').values()
    memory = log.values('memory').values()
    return Result(
        config=_config_name(folder, meta),
        data=_data_name(cfg),
        form=cfg['form'] if cfg.get('form') in FORMS else 'full',
        seed=_seed(cfg, meta, environment),
        unit=unit,
        epochs=epochs,
        last_epoch=last,
        metrics=metrics,
        per_class=per_class,
        curve_epochs=sorted(log.evaluations),
        curve={
            name: [
                log.evaluations[epoch].get(name)
                for epoch in sorted(log.evaluations)
            ]
            for name in names
        },
        loss_steps=list(loss),
        loss=list(loss.values()),
        seconds_per_iter=round(median(times), 4) if times else None,
        memory_mib=max(memory) if memory else None,
        parameters=_parameters(weights['state_dict'])
        if 'state_dict' in weights
        else None,
        commands=list(commands),
        commit=_commit() if here else None,
        versions=_versions(environment, here),
        hardware=_hardware(environment, here),
        work_dir=str(folder),
        stopped=was_stopped(folder),
    )


def split_metrics(
    metrics: Mapping[str, float | None],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Metrics of an evaluation, and those of single classes.

    Returns:
        tuple: Metrics as they are named; name of a class -> its AP. A class
        that a second evaluator has, too, keeps the prefix of that evaluator.
    """
    whole: dict[str, float | None] = {}
    per_class: dict[str, float | None] = {}
    for name, value in metrics.items():
        if not name.endswith(_CLASSWISE):
            whole[name] = value
            continue
        name = name.removesuffix(_CLASSWISE)
        label = name.partition('/')[2] or name
        per_class[name if label in per_class else label] = value
    return whole, per_class


def test_metrics(work_dir: str | Path) -> dict[str, float | None]:
    """The newest metrics that a test wrote, ours or ``tools/test.py``.

    Args:
        work_dir: ``--work-dir`` of the test.

    Returns:
        dict: As the evaluators name them; see :func:`split_metrics`.

    Raises:
        FileNotFoundError: There are none.
        ValueError: The file is damaged.
    """
    files = [
        path
        for path in Path(work_dir).glob('*/*.json')
        if path.stem == path.parent.name
    ]
    if not files:
        raise FileNotFoundError(
            f'{work_dir} has no metrics of a test: expected <time>/<time>.json'
        )
    path = max(files, key=lambda path: path.stem)
    try:
        content = json.loads(path.read_text('utf-8'))
        return finite(content)
    except (ValueError, AttributeError) as error:
        raise ValueError(f'{path} has no metrics: {error}') from error


test_metrics.__test__ = False  # type: ignore[attr-defined]  # for pytest


def _progress(
    log: Log, cfg: dict[str, Any], meta: dict[str, Any]
) -> tuple[str, int, int]:
    """Unit, length and state of the schedule."""
    loop = cfg.get('train_cfg') or {}
    epochs_logged = any('epoch' in entry for entry in log.steps.values())
    by_iter = 'max_iters' in loop or not (loop or epochs_logged)
    unit = 'iteration' if by_iter else 'epoch'
    if by_iter:
        done = [*log.steps, *log.evaluations, meta.get('iter', 0)]
    else:
        # the epoch of the last step may not be complete
        begun = (entry.get('epoch', 1) for entry in log.steps.values())
        done = [epoch - 1 for epoch in begun]
        done += [*log.evaluations, meta.get('epoch', 0)]
    last = max(done, default=0)
    epochs = loop.get('max_iters' if by_iter else 'max_epochs', last)
    return unit, int(epochs), int(last)


def _final(
    log: Log, cfg: dict[str, Any]
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Metrics of the last evaluation.

    Without any detection CocoMetric gives none, which means an AP of zero.
    """
    if not log.evaluations:
        return {}, {}
    metrics, per_class = split_metrics(log.evaluations[max(log.evaluations)])
    if not metrics:
        for _, node in walk_config(cfg.get('val_evaluator')):
            if type_name(node) == 'CocoMetric':
                types = node.get('metric', 'bbox')
                types = [types] if isinstance(types, str) else types
                prefix = node.get('prefix') or 'coco'
                metrics |= {
                    f'{prefix}/{one}_mAP{iou}': 0.0
                    for one in types
                    for iou in ('', '_50', '_75')
                    if one in ('bbox', 'segm')
                }
    return metrics, per_class


def _config_name(folder: Path, meta: dict[str, Any]) -> str:
    """Stem of the config: the Runner puts it before the time of its start."""
    name = re.sub(r'_?\d{8}_\d{6}$', '', meta.get('experiment_name', ''))
    dumps = sorted(folder.glob('*.py'))
    return name or (dumps[0].stem if dumps else folder.resolve().name)


def _data_name(cfg: dict[str, Any]) -> str:
    """Name of the folder of the training set: of its annotations' parent."""
    for _, dataset in leaf_datasets(cfg.get('train_dataloader')):
        root = dataset.get('data_root') or ''
        path = Path(dataset.get('ann_file') or '')
        return Path(root).name if root else path.parent.parent.name
    return ''


def _seed(
    cfg: dict[str, Any], meta: dict[str, Any], environment: dict[str, str]
) -> int | None:
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is None:
        seed = meta.get('seed', environment.get('seed'))
    return None if seed is None else int(seed)


def _thinned(points: dict[int, float]) -> dict[int, float]:
    """Evenly chosen points, with the first and the last one."""
    steps, last = list(points), len(points) - 1
    if last >= _LOSS_POINTS:
        steps = [
            steps[round(i * last / (_LOSS_POINTS - 1))]
            for i in range(_LOSS_POINTS)
        ]
    return {step: points[step] for step in steps}


def _parameters(state_dict: dict[str, Any]) -> int:
    return sum(
        value.numel()
        for key, value in state_dict.items()
        if not key.endswith(('running_mean', 'running_var', 'tracked'))
    )


def _versions(environment: dict[str, str], here: bool) -> dict[str, str]:
    if here:
        return measured_versions()
    names = ('python', 'torch', 'mmengine')
    return {name: environment[name] for name in names if name in environment}


def _hardware(
    environment: dict[str, str], here: bool
) -> dict[str, str | int | None]:
    import torch

    processes = environment.get('processes')
    return {
        'cpu': _cpu() if here else None,
        'gpu': environment.get('gpu'),
        'threads': torch.get_num_threads() if here else None,
        'processes': int(processes) if processes else None,
    }


def _cpu() -> str | None:
    """Name of the processor; on Linux `platform` only knows its type."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        text = info.read_text(errors='replace')
        if match := re.search(r'^model name\s*: (.+)$', text, re.MULTILINE):
            return match[1]
    return platform.processor() or None


def _commit() -> str | None:
    """Commit of the source tree of this package; None: it is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / '.git').exists():
        return None
    environment = {k: v for k, v in os.environ.items() if k != 'GIT_DIR'}
    try:
        done = subprocess.run(
            ['git', 'rev-parse', 'HEAD'],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
        )
    except OSError:  # no git
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
