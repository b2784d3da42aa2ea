"""What methods cost, for their READMEs, from committed benchmarks."""

import json
import re
from pathlib import Path

from facts import catalog
from readme_blocks import table, wrap

STEPS = Path('docs/results/benchmark/train_step.json')
GROWTH = Path('docs/results/benchmark/growth.json')
NAME = 'cost'
HEAD = ('config', 'baseline', 'multiply-adds', 'training step')
LEGEND = (
    'Relative to the baseline: multiply-adds of the prediction for one '
    '1280x800 image; time of a training step of the quick forms (`--mini`), '
    'whose networks are narrow, on one CPU thread '
    '([benchmarks](../../docs/benchmarks.md)). Whole predictions were not '
    'timed.'
)
_STEP = re.compile(r'(.+) train step B=\d+ \d+x\d+ G=\d+')
_PREDICTION = re.compile(r'(\w+) predict P=(\d+) classes=(\d+) B=1')


def render(root: Path, methods: list) -> dict[str, list[str]]:
    """Lines of each method that was timed, by slug.

    Args:
        root: Of the source tree.
        methods: Its catalog.
    """
    models, _ = catalog.read_baselines(root / 'configs')
    models |= {m.name: m for method in methods for m in method.models}
    timed = {}
    for row in _rows(root / STEPS):
        if match := _STEP.fullmatch(row['name']):
            timed[match[1], row['peer']] = row
    sentences = _predictions(root)
    found = {}
    for method in methods:
        cells = [
            (
                f'[{row.config}]({row.config}.py)',
                f'`{row.baseline}`',
                _multiply_adds(models[row.config], models[row.baseline]),
                _times(timed[row.label, row.baseline]),
            )
            for row in method.small_scale
            if (row.label, row.baseline) in timed
        ]
        if cells:
            text = f'{LEGEND} {sentences.get(method.slug, "")}'
            lines = ['', *table([HEAD, *cells]), '', *wrap(text), '']
            found[method.slug] = lines
    return found


def _predictions(root: Path) -> dict[str, str]:
    """A sentence about the time from outputs to boxes, by slug."""
    found: dict[str, tuple[int, str]] = {}
    for row in _rows(root / GROWTH):
        match = _PREDICTION.fullmatch(row['name'])
        if match is None:
            continue
        slug, priors, classes = match[1], match[2], int(match[3])
        text = (
            f'From outputs to boxes, for {classes} classes and an image with '
            f'{priors} priors of the baseline, the head takes {_times(row)} '
            f'times as long as that of `{row["peer"]}`.'
        )
        if slug not in found or classes < found[slug][0]:
            found[slug] = classes, text
    return {slug: text for slug, (_, text) in found.items()}


def _multiply_adds(ours, theirs) -> str:
    """Those of ours over theirs, if they are of images of one size."""
    sizes = {(m.metadata or {}).get('FLOPs Image') for m in (ours, theirs)}
    if not ours.flops or not theirs.flops or sizes != {None}:
        return '-'
    return f'{ours.flops / theirs.flops:.2f}'


def _times(row: dict) -> str:
    """Time of ours over that of the peer."""
    return f'{1 / row["ratio"]:.2f}'


def _rows(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    return json.loads(path.read_text(encoding='utf-8'))['rows']
