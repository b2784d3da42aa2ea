"""The text of docs/small_scale.md, from docs/results/small/summary.json.

``tools/dev/small_scale_report.py`` writes the summary and the figures. This
module only words them: it needs neither torch nor scipy, as pre-commit.
"""

import hashlib
import json
import runpy
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from facts import ROOT, catalog, read_methods
from small_scale_runs import DATA, LONGER, RECIPE, RESULTS
from small_scale_words import (
    AGREEMENT,
    ALONE,
    DEVIATION,
    FIRST_LOOK,
    GAIN_ALT,
    HEAD,
    LONGER_TEXT,
)

SUMMARY = RESULTS / 'summary.json'
STEPS = Path('docs/results/benchmark/train_step.json')
IMAGES = Path('docs/images')
GAIN_FIGURE = 'small_scale_gain.png'
AGAINST = ', against '


def compared_rows(root: Path = ROOT) -> list:
    """Rows of all methods, those of one baseline together, it first."""
    baselines, _ = catalog.read_baselines(root / 'configs')
    methods = read_methods(root)
    rows = [
        *catalog.read_pairs(root / 'configs'),
        *chain.from_iterable(method.small_scale for method in methods),
    ]
    labels = {base: row.label for base, row in baselines.items()}
    for method in methods:
        labels |= {m.name: m.description for m in method.models}
    listed = {row.config for row in rows} - set(baselines)
    groups: dict[str, list] = {}
    for row in rows:
        groups.setdefault(row.baseline or row.config, []).append(row)
    for base, group in groups.items():
        if base != group[0].config and base not in listed:
            # trained where one of the group is
            data = {name for row in group for name in row.data}
            every = any(not row.data for row in group)
            own = () if every else tuple(sorted(data))
            group.insert(
                0, catalog.SmallScaleRow(labels[base], base, data=own)
            )
    return list(chain.from_iterable(groups.values()))


def runs_on(row, data: str) -> bool:
    """Whether a row is trained on a dataset."""
    return not row.data or data in row.data


def curve_figure(data: str) -> str:
    """File name of the curves of a dataset."""
    return f'small_scale_curves_{data}.png'


def short_label(row) -> str:
    """The label without the baseline's name."""
    return row.label.partition(AGAINST)[0]


def stamp(summary: dict, rows: list) -> str:
    """What a figure is drawn from; figures carry it in their metadata."""
    shown = {
        (pair['config'], pair['baseline'])
        for content in summary['data'].values()
        for pair in content['pairs']
    }
    named = [
        (row.label, row.gain and row.gain.value)
        for row in rows
        if (row.config, row.baseline) in shown
    ]
    return hashlib.sha256(json.dumps([summary, named]).encode()).hexdigest()


def empty_summary() -> dict:
    """What stands for the summary before the first run."""
    nothing = {
        'classes': [],
        'models': {},
        'first_look': {},
        'pairs': [],
        'correlation': None,
    }
    return {'versions': [], 'data': dict.fromkeys(DATA, nothing)}


def render(root: Path) -> str:
    """The text of docs/small_scale.md."""
    return '\n'.join(_Page(root).lines()) + '\n'


class _Page:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows = compared_rows(root)
        methods = read_methods(root)
        self.slugs = {method.slug for method in methods}
        self.owners = {name: m.slug for m in methods for name in m.configs}
        path = root / SUMMARY
        self.summary = (
            json.loads(path.read_text(encoding='utf-8'))
            if path.is_file()
            else empty_summary()
        )

    def lines(self) -> Iterator[str]:
        yield HEAD
        yield from self.figure(GAIN_FIGURE, GAIN_ALT)
        yield from self.agreement()
        yield '\n## What the numbers say\n'
        yield from self.sentences()
        for data, title in DATA.items():
            yield f'\n## {title}\n'
            yield from self.table(data)
            yield from self.first_look(data)
            yield from self.not_run(data)
            yield ''
            yield from self.class_table(data)
            yield from self.figure(
                curve_figure(data),
                f'mAP over the epochs on {title}: method, baseline; mean and '
                'range of the seeds',
            )
        yield '\n## Published gains\n'
        yield from self.gain_table()
        yield '\n## Protocol\n'
        yield from self.protocol()
        yield ''
        yield (self.root / RESULTS / 'notes.md').read_text('utf-8').strip()

    def figure(self, name: str, alt: str) -> Iterator[str]:
        if (self.root / IMAGES / name).is_file():
            yield f'\n![{alt}](images/{name})'

    def pair(self, row, data: str) -> dict | None:
        """The summary of a row on a dataset."""
        for pair in self.summary['data'][data]['pairs']:
            if (pair['config'], pair['baseline']) == (
                row.config,
                row.baseline,
            ):
                return pair
        return None

    def verdict(self, row, data: str) -> str:
        pair = self.pair(row, data)
        return pair['verdict'] if pair else 'not run'

    def link(self, row, label: str | None = None) -> str:
        """A row's label, as a link to the page of its method."""
        label = label or row.label
        slug = self.owners.get(row.config)
        if row.config.startswith('mmdet::') and row.baseline:
            slug = row.config.removeprefix('mmdet::').partition('/')[0]
        if slug not in self.slugs:
            return label
        return f'[{label}](../configs/{slug}/README.md)'

    def compared(self) -> list:
        return [row for row in self.rows if row.baseline]

    def agreement(self) -> Iterator[str]:
        """The rank correlation of small-scale and published gains."""
        yield '\n| dataset | pairs | rank correlation with the papers |'
        yield '|---|---|---|'
        for data, title in DATA.items():
            found = self.summary['data'][data]['correlation']
            cells = ['-', 'not run']
            if found:
                cells = [
                    str(found['points']),
                    f'{found["rho"]:+.2f} ({found["low"]:+.2f} to '
                    f'{found["high"]:+.2f})',
                ]
            yield f'| {title} | {" | ".join(cells)} |'
        yield AGREEMENT

    def sentences(self) -> Iterator[str]:
        """Claims, each of which follows from the summary."""
        rows = self.compared()
        verdicts = {
            id(row): tuple(self.verdict(row, data) for data in DATA)
            for row in rows
        }

        def those(wanted: Callable[[tuple[str, ...]], bool]) -> str:
            found = [r for r in rows if wanted(verdicts[id(r)])]
            return ', '.join(self.named(row) for row in found)

        claims = [
            ('**Above its baseline on both datasets:**', {'above'}),
            ('**Below its baseline on both datasets:**', {'below'}),
            (
                'Above on one dataset and below on the other:',
                {'above', 'below'},
            ),
        ]
        found = [
            (text, those(lambda v, words=words: set(v) == words))
            for text, words in claims
        ]
        for index, title in enumerate(DATA.values()):
            for word, text in ALONE.items():
                names = those(
                    lambda v, index=index, word=word: (
                        v[index] == word and not set(v) <= {'above', 'below'}
                    )
                )
                found.append((text.format(title), names))
        for data, title in DATA.items():
            text = f'The sign differs from the published gain on {title}:'
            found.append((text, self.opposite(data)))
        for text, names in found:
            if names:
                yield f'- {text} {names}.'
        yield ''
        yield self.by_chance()

    def named(self, row) -> str:
        """A row within a sentence: its baseline has to be named."""
        return self.link(row, row.label.replace(',', ''))

    def opposite(self, data: str) -> str:
        """Rows whose order was established, against the paper's."""
        found = []
        for row in self.compared():
            verdict = self.verdict(row, data)
            if row.gain and verdict in ('above', 'below'):
                if (verdict == 'above') != (row.gain.value > 0):
                    found.append(self.named(row))
        return ', '.join(found)

    def by_chance(self) -> str:
        """How many claims a 95 % interval lets through by chance."""
        pairs = [
            pair
            for content in self.summary['data'].values()
            for pair in content['pairs']
            if 'holm' in pair
        ]
        if not pairs:
            return 'No pair has all seeds yet.'
        kept = sum(pair['holm'] for pair in pairs)
        return (
            f'{len(pairs)} differences are compared with zero. If there were '
            f'no differences at all, about {0.05 * len(pairs):.1f} of their '
            f'95 % intervals would still exclude it. The {kept} marked with '
            "`*` below also pass Holm's correction for all of them together "
            '(the chance that even one of them is false is at most 5 %).'
        )

    def step_times(self) -> dict[tuple[str, str], str]:
        """Time of a training step over the baseline's, by pair."""
        path = self.root / STEPS
        if not path.is_file():
            return {}
        content = json.loads(path.read_text(encoding='utf-8'))
        return {
            (
                row['name'].partition(' train step')[0],
                row['peer'],
            ): f'{1 / row["ratio"]:.2f}'
            for row in content['rows']
        }

    def not_run(self, data: str) -> Iterator[str]:
        """The names of the models without any run."""
        content = self.summary['data'][data]
        done = content['models'] | content['first_look']
        every = [row.config for row in self.rows if runs_on(row, data)]
        every = list(dict.fromkeys(every))
        names = [Path(name).stem for name in every if name not in done]
        if names and done:
            text = '`, `'.join(names)
            yield f'\nNot run ({len(names)} of {len(every)}): `{text}`.'
        elif names:
            yield f'Not run: all {len(every)}.'

    def first_look(self, data: str) -> Iterator[str]:
        """Models of which only the learning rate was looked for."""
        found = self.summary['data'][data]['first_look']
        if not found:
            return
        rates = sorted({r['rate'] for m in found.values() for r in m['runs']})
        masks = any('segm_mAP' in r for m in found.values() for r in m['runs'])
        yield FIRST_LOOK.format(self.summary['tuning_seed'])
        if deviation := self.summary.get('deviation'):
            yield DEVIATION.format(deviation)
        head = ['model', *(f'mAP, lr {rate:g}' for rate in rates)]
        head += ['best AP50', *['mask mAP'] * masks, 'epochs', 'parameters']
        yield f'\n| {" | ".join(head)} |'
        yield '|---' * len(head) + '|'
        labels: dict[str, str] = {}
        for row in self.rows:  # a baseline under its own name
            labels.setdefault(row.config, self.link(row))
        for config, label in labels.items():
            if config in found:
                cells = self.look_cells(found[config], rates, masks)
                yield f'| {label} | {" | ".join(cells)} |'

    def look_cells(self, model: dict, rates: list, masks: bool) -> list[str]:
        by_rate = {run['rate']: run for run in model['runs']}
        best = max(model['runs'], key=lambda run: run['bbox_mAP'])
        cells = [
            f'{by_rate[rate]["bbox_mAP"]:.3f}' if rate in by_rate else '-'
            for rate in rates
        ]
        cells.append(f'{best["bbox_mAP_50"]:.3f}')
        if masks:
            found = best.get('segm_mAP')
            cells.append('' if found is None else f'{found:.3f}')
        return [
            *cells, str(best['epochs']), f'{model["parameters"] / 1e6:.2f} M'
        ]  # fmt: skip

    def table(self, data: str) -> Iterator[str]:
        """Models that were run with the seeds."""
        models = self.summary['data'][data]['models']
        if not models:
            return
        metrics = dict(bbox_mAP='mAP', bbox_mAP_50='AP50', bbox_mAP_75='AP75')
        if any('segm_mAP' in model for model in models.values()):
            metrics['segm_mAP'] = 'mask mAP'
        head = ['model', *metrics.values(), 'difference (95 % interval)']
        head += ['verdict', 'published', 'last quarter', 'lr', 'step time']
        head.append('parameters')
        yield f'| {" | ".join(head)} |'
        yield '|---' * len(head) + '|'
        times = self.step_times()
        for row in self.rows:
            model = models.get(row.config)
            label = self.link(row)
            if not model:
                continue
            cells = [
                f'{model[key]:.3f}' if key in model else '' for key in metrics
            ]
            cells += self.difference(row, data)
            cells.append(f'{model["lr"]:g}' + ' !' * model['at_edge'])
            ratio = times.get((row.label, row.baseline), 'not run')
            cells.append(ratio if row.baseline else '')
            cells.append(f'{model["parameters"] / 1e6:.2f} M')
            yield f'| {label} | {" | ".join(cells)} |'

    def difference(self, row, data: str) -> list[str]:
        """Cells: difference, verdict, published gain, last quarter."""
        if not row.baseline:
            return [''] * 4
        gain = f'{row.gain.value:+.1f}' if row.gain else '-'
        pair = self.pair(row, data)
        if not pair:
            return ['', 'baseline not run', gain, '']
        difference = f'{pair["difference"]:+.3f}'
        if pair['low'] is not None:
            difference += f' ({pair["low"]:+.3f} to {pair["high"]:+.3f})'
        if pair.get('holm'):
            difference += ' `*`'
        moves = ' / '.join(
            '-' if move is None else f'{move:+.3f}' for move in pair['moves']
        )
        return [difference, pair['verdict'], gain, moves]

    def class_table(self, data: str) -> Iterator[str]:
        """Mean AP of every class, of the models that were run."""
        content = self.summary['data'][data]
        if not content['models']:
            return
        yield 'AP per class:\n'
        yield f'| model | {" | ".join(content["classes"])} |'
        yield f'|---|{"---|" * len(content["classes"])}'
        shown = set()
        for row in self.rows:
            model = content['models'].get(row.config)
            if model and row.config not in shown:
                shown.add(row.config)
                values = [f'{value:.3f}' for value in model['per_class']]
                yield f'| {short_label(row)} | {" | ".join(values)} |'

    def gain_table(self) -> Iterator[str]:
        """The source of every published gain."""
        yield (
            'Box AP on COCO of a method and its baseline, both from one '
            'source, with the same backbone, schedule and split.\n'
        )
        yield '| pair | baseline | method | gain | split | source |'
        yield '|---|---|---|---|---|---|'
        for row in self.compared():
            cells = ['', '', 'no such pair found', '', '']
            if row.gain:
                gain = row.gain
                note = f'; {gain.note}' if gain.note else ''
                cells = [
                    f'{gain.baseline_ap:.1f}',
                    f'{gain.ap:.1f}',
                    f'{gain.value:+.1f}',
                    gain.dataset.removeprefix('COCO '),
                    gain.source + note,
                ]
            yield f'| {self.link(row)} | {" | ".join(cells)} |'

    def protocol(self) -> Iterator[str]:
        """The recipe, and what the result files say of the runs."""
        yield from self.recipe()
        for data, title in DATA.items():
            models = self.summary['data'][data]['models'].values()
            if models:
                epochs = sorted({model['epochs'] for model in models})
                tried = sorted({lr for m in models for lr in m['tried']})
                edge = sum(model['at_edge'] for model in models)
                yield (
                    f'- {title}: {", ".join(map(str, epochs))} epochs; '
                    f'learning rates {", ".join(f"{lr:g}" for lr in tried)}; '
                    f'{edge} of {len(models)} models chose one at the edge.'
                )
                if data in LONGER:
                    yield LONGER_TEXT.format(LONGER[data])
        if self.summary['versions']:
            yield (
                f'- Seeds {", ".join(map(str, self.summary["seeds"]))}; '
                'the learning rate was chosen with seed '
                f'{self.summary["tuning_seed"]}.'
            )
            yield f'- Versions: {"; ".join(self.summary["versions"])}.'
            yield (
                '- Flat: in the last quarter of training the difference '
                f'moves by at most {self.summary["flat_share"]:g} of itself, '
                'and neither of the two mean curves by more than '
                f'{self.summary["flat_map"]:g} mAP.'
            )

    def recipe(self) -> Iterator[str]:
        """What ``configs/_base_/protocol.py`` gives every model."""
        recipe = runpy.run_path(str(self.root / RECIPE))
        loader = recipe['train_dataloader']
        steps = {t['type']: t for t in loader['dataset']['pipeline']}
        wrapper = recipe['optim_wrapper']
        optimizer = wrapper['optimizer']
        warmup, _ = recipe['param_scheduler']
        yield (
            '- Model: an EfficientNet-Lite0 with ImageNet weights, all of it '
            'frozen, in place of the ResNet; a quarter of the channels behind '
            "it and half of the heads' tower convolutions; the method "
            'unchanged. A method that is a backbone and its baseline start '
            'from random weights.'
        )
        yield (
            f'- Images: resized to fit {steps["Resize"]["scale"][0]}x'
            f'{steps["Resize"]["scale"][1]}, mirrored with probability '
            f'{steps["RandomFlip"]["prob"]:g}, {loader["batch_size"]} per '
            'step; an incomplete last batch is left out.'
        )
        yield (
            f'- Training: {recipe["train_cfg"]["max_epochs"]} epochs of '
            f'{optimizer["type"]}, weight decay '
            f'{optimizer["weight_decay"]:g}, gradients clipped at norm '
            f'{wrapper["clip_grad"]["max_norm"]:g}, {warmup["end"]} steps of '
            'warm-up, then half a cosine to zero. The same for all but the '
            'learning rate; a pair that learns slowly has more epochs, both '
            'the same.'
        )
