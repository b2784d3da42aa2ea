"""The text of docs/quick_form.md: runs with random weights, in minutes.

No claim rests on them; the published protocol is ``small_scale_page.py``.
"""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import mean

from facts import ROOT, load, read_methods
from small_scale_page import DATA, compared_rows, short_label

Run = load('experiments').Run
RESULTS = Path('docs/results/small_scale')
OVERFIT = Path('docs/results/overfit')
SEEDS = (0, 1, 2)
EPOCHS = 12
# nobody asks how the curve of the generated set rises, and it takes a sixth
# of the time
ONCE = (f'train_cfg.val_interval={EPOCHS}',)
METRICS = {'mAP': 'bbox_mAP', 'AP50': 'bbox_mAP_50', 'AP75': 'bbox_mAP_75'}


def seed_runs(config: str, data: str = 'bccd') -> list:
    """12 epochs on train, evaluated on val, a run per seed."""
    options = ONCE if data == 'shapes' else ()
    return [Run(config, data, EPOCHS, seed, options=options) for seed in SEEDS]


def all_runs(root: Path = ROOT) -> list:
    """Every run of the page, the most telling ones first."""
    rows = compared_rows(root)
    runs = []
    for data in DATA:
        by_seed = zip(*(seed_runs(r.config, data) for r in rows), strict=True)
        runs += chain.from_iterable(by_seed)
    for method in read_methods(root):
        runs += [seed_runs(row.config)[0] for row in method.ablation]
    return list(dict.fromkeys(runs))


def render(root: Path) -> str:
    """The text of docs/quick_form.md, from the committed results."""
    return '\n'.join(_Page(root).lines()) + '\n'


class _Page:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.methods = read_methods(root)

    def read(self, path: Path) -> dict | None:
        """A committed result, or None."""
        path = self.root / path
        return json.loads(path.read_text()) if path.is_file() else None

    def results(self, config: str, data: str) -> list[dict]:
        """The runs of a config that were made, in the order of the seeds."""
        paths = [RESULTS / f'{r.name}.json' for r in seed_runs(config, data)]
        return [result for path in paths if (result := self.read(path))]

    def lines(self) -> Iterator[str]:
        yield HEAD
        for data, title in DATA.items():
            yield f'\n## {title}\n'
            yield from self.seed_table(data)
            yield ''
            (run, *_) = seed_runs('CONFIG', data)
            yield f'`mmdet-assigners {" ".join(run.arguments())}`'
        yield OVERFIT_HEAD
        yield from self.overfit_table()
        yield '\n## Ablations\n\nBCCD, seed 0.\n'
        for method in self.methods:
            if method.ablation:
                yield from self.ablation_table(method)
                yield ''
        for name in ('uncertainty.md', 'notes.md'):
            yield (self.root / RESULTS / name).read_text('utf-8').strip()
            yield ''
        paths = sorted((self.root / RESULTS).glob('*.json'))
        stacks = {
            ', '.join(f'{k} {v}' for k, v in self.read(p)['versions'].items())
            for p in paths
        }
        yield f'Versions: {"; ".join(sorted(stacks))}.'

    def seed_table(self, data: str) -> Iterator[str]:
        """Mean and range over the seeds, of the models that were run."""
        yield '| model | mAP | AP50 | AP75 | parameters | seeds |'
        yield '|---|---|---|---|---|---|'
        labels: dict[str, str] = {}
        for row in compared_rows(self.root):
            labels.setdefault(row.config, short_label(row))
        for config, label in labels.items():
            results = self.results(config, data)
            if results:
                cells = [
                    _spread([r[key] for r in results])
                    for key in METRICS.values()
                ]
                cells += [f'{results[0]["parameters"] / 1e6:.3f} M']
                cells += [', '.join(str(r['seed']) for r in results)]
                yield f'| {label} | {" | ".join(cells)} |'

    def ablation_table(self, method) -> Iterator[str]:
        """One row of metrics per config, with the first seed."""
        yield f'| {method.name} | {" | ".join(METRICS)} |'
        yield '|---|---|---|---|'
        for row in method.ablation:
            results = self.results(row.config, 'bccd')
            cells = ['not run', '', '']
            if results:
                cells = [f'{results[0][key]:.3f}' for key in METRICS.values()]
            yield f'| {row.label} | {" | ".join(cells)} |'

    def overfit_table(self) -> Iterator[str]:
        """AP50 of each method on the 16 images that it was trained on."""
        yield f'| method | {" | ".join(DATA.values())} |'
        yield '|---|---|---|'
        for method in self.methods:
            cells = []
            for data in DATA:
                result = self.read(
                    OVERFIT / f'{method.configs[0]}_{data}.json'
                )
                cells.append(
                    f'{result["bbox_mAP_50"]:.3f} ({result["last_epoch"]})'
                    if result
                    else 'not run'
                )
            yield f'| {method.name} | {" | ".join(cells)} |'


def _spread(values: list[float]) -> str:
    """Mean and range of a metric over seeds."""
    if len(values) == 1:
        return f'{values[0]:.3f}'
    low, high = min(values), max(values)
    return f'{mean(values):.3f} ({low:.3f}-{high:.3f})'


HEAD = f"""\
# The quick form

<!-- generated by tools/dev/generate_index.py: do not edit -->

**No claim rests on this page.** It shows what `--mini` gives in minutes on two
cores: a ResNet-18 with 16 base channels and random weights, images of 320x240,
batches of four, {EPOCHS} epochs, up to three seeds as mean (lowest-highest).
BCCD has 205 images for training and 87 for evaluation. Most curves still rise
at the end, and in this budget a row shows how early a model starts to learn as
much as how far it gets. Comparisons are made in [Small scale](small_scale.md).
"""
OVERFIT_HEAD = """
## Overfit: 16 images

AP50 on the images that the model was trained on (epochs), which has to pass
0.9: `pytest -m slow tests/test_overfit.py --overfit-results
docs/results/overfit`. Evaluated every 20 epochs from 80 to 160 and stopped
when it passes, unless the method changes during training (MAL, SAPD); seed 0.
"""
