"""Statistics of the published small-scale runs: what the page may claim.

Reads ``docs/results/small/<data>/<config>.json`` and knows nothing of pages
and figures. A difference is that of a method and its baseline over the seeds
that both have, since a seed fixes the order of the images, the flips and the
initial weights.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from small_scale_runs import DATA, RESULTS, SEEDS, TUNING_SEED

CONFIDENCE = 0.95
# what may still move in the last quarter of a settled pair
FLAT_SHARE = 0.5  # the difference, as a share of itself
FLAT_MAP = 0.03  # each of the two curves
RESAMPLES = 10_000
MIN_POINTS = 5  # of a rank correlation
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')
MASK_METRIC = 'segm_mAP'  # of models with masks
LOOK_KEYS = ('rate', 'epochs', *METRICS, MASK_METRIC)


def read_results(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Dataset -> config -> content of its file."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for data in DATA:
        found[data] = {}
        for path in sorted((root / RESULTS / data).glob('*.json')):
            result = json.loads(path.read_text(encoding='utf-8'))
            found[data][result['config']] = tabulate(result)
    return found


def tabulate(result: dict[str, Any]) -> dict[str, Any]:
    """The content of a file with curves and classes as lists.

    A run names its classes, and none if nothing was detected.
    """
    classes = list(max((r['per_class'] for r in result['runs']), key=len))
    runs = [
        run
        | {
            'curve': list(zip(run['curve_epochs'], run['curve'], strict=True)),
            'per_class': [run['per_class'].get(c, 0.0) for c in classes],
        }
        for run in result['runs']
    ]
    return result | {'classes': classes, 'runs': runs}


def learning_rate(result: dict[str, Any]) -> tuple[float, list[float]]:
    """The rate that the tuning seed chose, and those that it tried.

    Raises:
        ValueError: Nothing was tuned, and the runs have several rates.
    """
    runs = result['runs']
    tuned = [run for run in runs if run['seed'] == TUNING_SEED]
    if tuned:
        best = max(tuned, key=lambda run: run['bbox_mAP'])
        return best['rate'], sorted({run['rate'] for run in tuned})
    rates = sorted({run['rate'] for run in runs})
    if len(rates) != 1:
        raise ValueError(
            f'{result["config"]} on {result["data"]}: learning rates {rates} '
            f'and no run with the tuning seed {TUNING_SEED}'
        )
    return rates[0], rates


def counted_runs(result: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The runs that count: seed -> run with the chosen rate.

    Raises:
        ValueError: Two runs of one seed, or other schedules.
    """
    rate, _ = learning_rate(result)
    found: dict[int, dict[str, Any]] = {}
    for run in result['runs']:
        if run['seed'] in SEEDS and run['rate'] == rate:
            if run['seed'] in found:
                raise ValueError(
                    f'{result["config"]} on {result["data"]}: two runs of '
                    f'seed {run["seed"]}'
                )
            found[run['seed']] = run
    lengths = sorted({run['epochs'] for run in found.values()})
    if len(lengths) > 1:
        raise ValueError(
            f'{result["config"]} on {result["data"]}: its seeds were trained '
            f'for {lengths} epochs'
        )
    return dict(sorted(found.items()))


def mean_curve(runs: list[dict[str, Any]]) -> list[list[float]]:
    """(epoch, mean, lowest, highest mAP) where all runs were evaluated."""
    curves = [{epoch: value for epoch, value in r['curve']} for r in runs]
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    values = {epoch: [curve[epoch] for curve in curves] for epoch in epochs}
    return [[e, np.mean(v), min(v), max(v)] for e, v in values.items()]


def last_quarter(runs: list[dict[str, Any]], epochs: int) -> float | None:
    """What the mean curve moves from 75 % of the training to its end."""
    curve = mean_curve(runs)
    if not curve or curve[-1][0] != epochs or len(curve) < 2:
        return None
    evaluated, means, *_ = zip(*curve, strict=True)
    return means[-1] - np.interp(0.75 * epochs, evaluated, means)


def summarize_model(result: dict[str, Any]) -> dict[str, Any] | None:
    """Means over the seeds, or None without a run that counts."""
    runs = list(counted_runs(result).values())
    if not runs:
        return None
    rate, tried = learning_rate(result)
    return {
        'seeds': [run['seed'] for run in runs],
        'epochs': runs[0]['epochs'],
        'parameters': result['parameters'],
        'lr': rate,
        'tried': tried,
        'at_edge': len(tried) > 1 and rate in (tried[0], tried[-1]),
        **{
            key: np.mean([run[key] for run in runs])
            for key in (*METRICS, MASK_METRIC)
            if all(key in run for run in runs)
        },
        'per_class': np.mean([r['per_class'] for r in runs], axis=0).tolist(),
        'curve': mean_curve(runs),
    }


def first_look(rows: list, results: dict[str, Any]) -> dict[str, Any]:
    """Tuning runs: config -> its parameters, and what each rate gave.

    Of the models that have no other runs, and of their baselines.
    """
    waiting = {
        row.config
        for row in rows
        if row.config in results and not counted_runs(results[row.config])
    }
    baselines = {row.baseline for row in rows if row.config in waiting}
    found = {}
    for config in (row.config for row in rows if row.config in results):
        if config in waiting | baselines:
            result = results[config]
            found[config] = {
                'parameters': result['parameters'],
                'runs': [
                    {key: run[key] for key in LOOK_KEYS if key in run}
                    for run in result['runs']
                    if run['seed'] == TUNING_SEED
                ],
            }
    return found


def interval(values: list[float]) -> tuple[float, float, float]:
    """95 % interval of a mean (Student's t), and the p value of zero."""
    count = len(values)
    mean, error = np.mean(values), stats.sem(values)
    width = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error
    if error == 0:
        return mean, mean, float(mean == 0)
    p = 2 * stats.t.sf(abs(mean) / error, count - 1)
    return mean - width, mean + width, p


def summarize_pair(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> dict[str, Any] | None:
    """The paired difference, or None without a common seed.

    Raises:
        ValueError: The two were trained for different numbers of epochs.
    """
    mine, other = counted_runs(ours), counted_runs(theirs)
    seeds = [seed for seed in mine if seed in other]
    if not seeds:
        return None
    epochs, others = (runs[seeds[0]]['epochs'] for runs in (mine, other))
    if epochs != others:
        raise ValueError(
            f'{ours["config"]} on {ours["data"]} was trained for {epochs} '
            f'epochs, its baseline {theirs["config"]} for {others}'
        )
    values = [mine[s]['bbox_mAP'] - other[s]['bbox_mAP'] for s in seeds]
    difference = np.mean(values)
    low = high = p = deviation = None
    if len(seeds) > 1:
        low, high, p = interval(values)
        deviation = np.std(values, ddof=1)
    moves = [
        last_quarter([runs[seed] for seed in seeds], epochs)
        for runs in (mine, other)
    ]
    pair = {
        'config': ours['config'],
        'baseline': theirs['config'],
        'seeds': seeds,
        'difference': difference,
        'low': low,
        'high': high,
        'p': p,
        'deviation': deviation,
        'moves': moves,
        'flat': is_flat(difference, moves),
    }
    return pair | {'verdict': verdict(pair)}


def is_flat(difference: float, moves: list[float | None]) -> bool:
    """Whether the order of two curves is settled.

    A schedule that ends at a learning rate of zero lifts both curves at the
    end; what counts is how much of the difference arose there. False if a
    curve was not evaluated before its end.
    """
    mine, other = moves
    if mine is None or other is None:
        return False
    settled = abs(mine - other) <= FLAT_SHARE * abs(difference)
    return settled and max(abs(mine), abs(other)) <= FLAT_MAP


def verdict(pair: dict[str, Any]) -> str:
    """What may be said of a pair."""
    if len(pair['seeds']) < len(SEEDS):
        return f'{len(pair["seeds"])} of {len(SEEDS)} seeds'
    if pair['low'] <= 0 <= pair['high']:
        return 'not told apart'
    if not pair['flat']:
        return 'not settled'
    return 'above' if pair['difference'] > 0 else 'below'


def holm(values: list[float]) -> list[bool]:
    """Which of several p values survive Holm's correction."""
    order = sorted(range(len(values)), key=values.__getitem__)
    kept = [False] * len(values)
    for rank, index in enumerate(order):
        if values[index] > (1 - CONFIDENCE) / (len(values) - rank):
            break
        kept[index] = True
    return kept


def correlation(x: list[float], y: list[float]) -> dict[str, Any] | None:
    """Spearman's rank correlation; 95 % interval by resampling the points.

    None for fewer points than mean anything.
    """
    if len(x) < MIN_POINTS:
        return None
    both = np.array([x, y])
    chosen = np.random.default_rng(0).integers(
        len(x), size=(RESAMPLES, len(x))
    )
    ranks = stats.rankdata(both[:, chosen], axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    with np.errstate(invalid='ignore'):  # a sample of one point repeated
        a, b = ranks / np.linalg.norm(ranks, axis=-1, keepdims=True)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile((a * b).sum(axis=-1), [tail, 100 - tail])
    return {
        'rho': stats.spearmanr(x, y).statistic,
        'low': low,
        'high': high,
        'points': len(x),
    }


def summarize(root: Path, rows: list) -> dict[str, Any]:
    """All numbers of the page, of the rows that have results.

    Args:
        root: Source tree.
        rows: See ``small_scale_page.compared_rows``.
    """
    results = read_results(root)
    summary: dict[str, Any] = {
        'seeds': SEEDS,
        'tuning_seed': TUNING_SEED,
        'flat_share': FLAT_SHARE,
        'flat_map': FLAT_MAP,
        'versions': sorted(
            {
                ', '.join(f'{k} {v}' for k, v in run['versions'].items())
                for configs in results.values()
                for result in configs.values()
                for run in result['runs']
            }
        ),
        'data': {},
    }
    complete = []
    for data, configs in results.items():
        shown = [row for row in rows if row.config in configs]
        pairs, points = [], []
        for row in shown:
            if row.baseline not in configs:
                continue
            pair = summarize_pair(configs[row.config], configs[row.baseline])
            if pair:
                pairs.append(pair)
                if len(pair['seeds']) == len(SEEDS):
                    complete.append(pair)
                    if row.gain:
                        points.append((pair['difference'], row.gain.value))
        models = {row.config: configs[row.config] for row in shown}
        means = {name: summarize_model(r) for name, r in models.items()}
        summary['data'][data] = {
            'classes': next((r['classes'] for r in models.values()), []),
            'models': {name: m for name, m in means.items() if m},
            'first_look': first_look(rows, configs),
            'pairs': pairs,
            'correlation': correlation(*zip(*points, strict=True))
            if points
            else None,
        }
    if complete:
        variances = [pair['deviation'] ** 2 for pair in complete]
        summary['deviation'] = np.sqrt(np.mean(variances))
    for pair, kept in zip(
        complete, holm([pair['p'] for pair in complete]), strict=True
    ):
        pair['holm'] = kept
    return rounded(summary)


def rounded(value: Any) -> Any:
    """The same with floats that read well and don't depend on the machine."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f'{value:.5g}')
    return value
