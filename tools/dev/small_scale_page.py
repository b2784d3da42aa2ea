"""The small-scale runs that the metafiles list, and docs/small_scale.md."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import mean

from facts import ROOT, catalog, load, read_methods

Run = load('experiments').Run
RESULTS = Path('docs/results/small_scale')
OVERFIT = Path('docs/results/overfit')
STEPS = Path('docs/results/benchmark/train_step.json')
SEEDS = (0, 1, 2)
EPOCHS = 12
# nobody asks how the curve of the generated set rises, and it takes a sixth
# of the time
ONCE = (f'train_cfg.val_interval={EPOCHS}',)
METRICS = {'mAP': 'bbox_mAP', 'AP50': 'bbox_mAP_50', 'AP75': 'bbox_mAP_75'}


def compared_rows(root: Path = ROOT) -> list:
    """Rows of all methods, those of one baseline together, it first."""
    baselines, _ = catalog.read_baselines(root / 'configs')
    groups: dict[str, list] = {}
    for row in chain.from_iterable(m.small_scale for m in read_methods(root)):
        base = row.baseline or row.config
        group = groups.setdefault(base, [])
        if base in baselines and not group:
            label = baselines[base].label
            group.append(catalog.SmallScaleRow(label, base))
        if row.coco128:
            group[0] = replace(group[0], coco128=True)
        group.append(row)
    return list(chain.from_iterable(groups.values()))


def seed_runs(config: str, data: str = 'bccd') -> list:
    """12 epochs on train, evaluated on val, a run per seed."""
    options = ONCE if data == 'shapes' else ()
    return [Run(config, data, EPOCHS, seed, options=options) for seed in SEEDS]


def coco128_run(config: str):
    """20 epochs on 128 images, evaluated on themselves: can it fit?"""
    return Run(config, 'coco128', 20, 0, 'train')


def all_runs(root: Path = ROOT) -> list:
    """Every run of the page, the most telling ones first."""
    rows = compared_rows(root)
    runs = []
    for data in ('bccd', 'shapes'):
        by_seed = zip(*(seed_runs(r.config, data) for r in rows), strict=True)
        runs += chain.from_iterable(by_seed)
    runs += [coco128_run(row.config) for row in rows if row.coco128]
    for method in read_methods(root):
        runs += [seed_runs(row.config)[0] for row in method.ablation]
    return list(dict.fromkeys(runs))


def render(root: Path) -> str:
    """The text of docs/small_scale.md, from the committed results."""
    return '\n'.join(_Page(root).lines())


class _Page:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows = compared_rows(root)
        self.methods = read_methods(root)

    def read(self, path: Path) -> dict | None:
        """A committed result, or None."""
        path = self.root / path
        return json.loads(path.read_text()) if path.is_file() else None

    def result(self, run) -> dict | None:
        return self.read(RESULTS / f'{run.name}.json')

    def lines(self) -> Iterator[str]:
        yield HEAD
        yield from self.seed_table('bccd')
        yield '\n## shapes, 12 epochs\n\nThe generated set, same budget.\n'
        yield from self.seed_table('shapes')
        yield OVERFIT_HEAD
        yield from self.overfit_table()
        yield COCO128_HEAD
        coco128 = [row for row in self.rows if row.coco128]
        yield from self.metric_table('model', coco128, coco128_run)
        yield '\n## Ablations\n\nBCCD, 12 epochs, seed 0.\n'
        for method in self.methods:
            if method.ablation:
                yield from self.metric_table(
                    method.name, method.ablation, lambda c: seed_runs(c)[0]
                )
                yield ''
        for name, title in (
            ('uncertainty.md', None),
            ('notes.md', '\n## What the numbers say\n'),
        ):
            if title:
                yield title
            yield (self.root / RESULTS / name).read_text().strip()
        yield from self.commands()

    def step_times(self) -> dict[str, str]:
        """Time of a training step over the baseline's, by label."""
        content = self.read(STEPS) or {'rows': []}
        return {
            row['name'].partition(' train step')[0]: f'{1 / row["ratio"]:.2f}'
            for row in content['rows']
        }

    def seed_table(self, data: str) -> Iterator[str]:
        """Mean and range over the seeds, the gain over the same seeds."""
        yield (
            '| model | mAP | AP50 | AP75 | mAP - baseline '
            '| step time / baseline | parameters | seeds |'
        )
        yield '|---|---|---|---|---|---|---|---|'
        times = self.step_times()
        scores: dict[str, dict[int, float]] = {}  # config -> seed -> mAP
        for row in self.rows:
            runs = seed_runs(row.config, data)
            results = [r for run in runs if (r := self.result(run))]
            if not results:
                yield f'| {row.label} | not run | | | | | | |'
                continue
            scores[row.config] = {r['seed']: r['bbox_mAP'] for r in results}
            cells = [
                _spread([r[key] for r in results]) for key in METRICS.values()
            ]
            theirs = scores.get(row.baseline, {})
            gains = [
                value - theirs[seed]
                for seed, value in scores[row.config].items()
                if seed in theirs
            ]
            ratio = '-' if row.baseline is None else 'not run'
            cells += [f'{mean(gains):+.3f}' if gains else '-']
            cells += [times.get(row.label, ratio)]
            cells += [f'{results[0]["parameters"] / 1e6:.3f} M']
            cells += [', '.join(str(r['seed']) for r in results)]
            yield f'| {row.label} | {" | ".join(cells)} |'

    def metric_table(self, head, rows, run_of) -> Iterator[str]:
        """One row of metrics per config."""
        yield f'| {head} | mAP | AP50 | AP75 |'
        yield '|---|---|---|---|'
        for row in rows:
            result = self.result(run_of(row.config))
            cells = ['not run', '', '']
            if result:
                cells = [f'{result[key]:.3f}' for key in METRICS.values()]
            yield f'| {row.label} | {" | ".join(cells)} |'

    def overfit_table(self) -> Iterator[str]:
        """AP50 of each method on the 16 images that it was trained on."""
        yield '| method | BCCD | shapes |'
        yield '|---|---|---|'
        for method in self.methods:
            cells = []
            for data in ('bccd', 'shapes'):
                result = self.read(
                    OVERFIT / f'{method.configs[0]}_{data}.json'
                )
                cells.append(
                    f'{result["bbox_mAP_50"]:.3f} ({result["last_epoch"]})'
                    if result
                    else 'not run'
                )
            yield f'| {method.name} | {" | ".join(cells)} |'

    def commands(self) -> Iterator[str]:
        """The commands of the runs with seed 0, and the versions of all."""
        runs = all_runs(self.root)
        found = [(run, r) for run in runs if (r := self.result(run))]
        yield COMMANDS_HEAD
        for run, result in found:
            if run.seed == 0:
                yield result['command']
        stacks = {
            ', '.join(f'{k} {v}' for k, v in result['versions'].items())
            for _, result in found
        }
        yield f'```\n\nVersions: {"; ".join(sorted(stacks))}.\n'


def _spread(values: list[float]) -> str:
    """Mean and range of a metric over seeds."""
    if len(values) == 1:
        return f'{values[0]:.3f}'
    low, high = min(values), max(values)
    return f'{mean(values):.3f} ({low:.3f}-{high:.3f})'


HEAD = """\
# Small-scale results

<!-- generated by tools/dev/generate_index.py: do not edit -->

Every number on this page was measured for this project, none is from a paper;
the results are in `docs/results`. The runs use the small-scale overlay
(ResNet-18 with 16 base channels, images of 320x240, random initial weights).
They say whether a method trains and how it compares with its baseline under
the same budget. They are not COCO results: no COCO AP was measured for this
project.

## BCCD, 12 epochs

205 images for training, 87 for evaluation, batch 4, up to three seeds: mean
(lowest-highest). The difference from the baseline is over the same seeds.
Step times are those of `tools/benchmark/train_step.py`, which runs a method
and its baseline by turns in one process.
"""
OVERFIT_HEAD = """
## Overfit: 16 images

AP50 on the images that the model was trained on (epochs), which has to pass
0.9: `pytest -m slow tests/test_overfit.py --overfit-results
docs/results/overfit`. Evaluated every 20 epochs from 80 to 160 and stopped
when it passes, unless the method changes during training (MAL, SAPD); seed 0.
"""
COCO128_HEAD = """
## COCO128, 20 epochs, evaluated on the training images

Can the model fit 128 images of 80 classes? One seed.
"""
COMMANDS_HEAD = """
## Commands

Seed 0; the other seeds differ in `--seed`.

```"""
