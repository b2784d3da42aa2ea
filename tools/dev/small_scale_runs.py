"""The runs behind docs/small_scale.md and their committed results.

A file of results per dataset and config,
``docs/results/small/<data>/<config>.json``, holds the runs that are finished.
"""

import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from facts import ROOT, load

RESULTS = Path('docs/results/small')
DATA = {'bccd': 'BCCD', 'shapes': 'shapes'}
# Longer than the recipe: RetinaNet was not flat after six epochs on shapes.
LONGER = {'shapes': 1.5}
RECIPE = Path('configs/_base_/protocol.py')
RATES = (1e-3, 2e-3, 4e-3)
TUNING_SEED = 100
SEEDS = (0, 1, 2, 3, 4)

_experiments = load('experiments')
_files = load('files')


@functools.cache
def schedule(config: str, root: Path = ROOT) -> int:
    """Epochs of the recipe, or those that the config asks for."""
    from mmengine.config import Config  # slow, and pages don't need it

    ours = sorted(root.glob(f'configs/*/{config}.py'))
    settings = [Config.fromfile(path).get('small', {}) for path in ours]
    for content in (*settings, Config.fromfile(root / RECIPE)):
        if epochs := content.get('train_cfg', {}).get('max_epochs'):
            return epochs
    raise ValueError(f'{RECIPE}: train_cfg has no max_epochs')


def make_run(config: str, data: str, seed: int, rate: float):
    """A training.

    A tuning run has the schedule of the recipe on every dataset and is only
    evaluated at the end.
    """
    epochs = None
    options = [f'optim_wrapper.optimizer.lr={rate:g}']
    if seed == TUNING_SEED:
        options.append('train_cfg.val_interval=1000')
    elif data in LONGER:
        epochs = round(LONGER[data] * schedule(config))
    return _experiments.Run(
        config, data, epochs, seed, options=tuple(options), form='small'
    )


def result_file(config: str, data: str, root: Path = ROOT) -> Path:
    """Where the results of a config on a dataset are kept."""
    return root / RESULTS / data / f'{Path(config).stem}.json'


def read_runs(config: str, data: str, root: Path = ROOT) -> list[dict]:
    """Finished runs, see `add_run`."""
    path = result_file(config, data, root)
    return json.loads(path.read_text())['runs'] if path.is_file() else []


def add_run(run, rate: float, result: dict, root: Path = ROOT) -> None:
    """Add the result of ``execute(run)`` to its file."""
    path = result_file(run.config, run.data, root)
    head = ('config', 'data', 'parameters')
    runs = read_runs(run.config, run.data, root)
    kept = {k: v for k, v in result.items() if k not in (*head, 'eval_on')}
    runs.append({'rate': rate, **kept})
    runs.sort(key=lambda r: (r['seed'] != TUNING_SEED, r['seed'], r['rate']))
    _files.write_json(path, {k: result[k] for k in head} | {'runs': runs})


def best_rate(runs: Iterable[dict]) -> float | None:
    """The learning rate of the best tuning run; None before all are done."""
    scores = {
        run['rate']: run['bbox_mAP']
        for run in runs
        if run['seed'] == TUNING_SEED
    }
    if any(rate not in scores for rate in RATES):
        return None
    return max(RATES, key=scores.__getitem__)


def missing_runs(
    configs: Iterable[str],
    data: str,
    root: Path = ROOT,
    *,
    rates: Iterable[float] = RATES,
    seeds: Iterable[int] = SEEDS,
) -> Iterator[tuple]:
    """Runs that can start, each with its learning rate.

    Config by config, so that pairs are complete soon; tuning first. Seeds
    wait for the tuning runs of the whole grid, whichever ``rates`` are asked.
    """
    for config in configs:
        finished = read_runs(config, data, root)
        done = {(run['seed'], run['rate']) for run in finished}
        wanted = [(TUNING_SEED, rate) for rate in rates]
        if best := best_rate(finished):
            wanted += [(seed, best) for seed in seeds]
        for seed, rate in wanted:
            if (seed, rate) not in done:
                yield make_run(config, data, seed, rate), rate
