"""What docs/benchmarks.md says about growth, from the rows of growth.py."""

import math
import re
from collections.abc import Iterator

FIGURE = 'growth.png'
MARGIN = 0.1  # exponents closer than this are the same
AXES = {'G': 'objects', 'P': 'priors', 'classes': 'classes'}
# ratios above this are called the same: of prediction by the same operators,
# SEPC's and RetinaNet's, 0.92 to 1.05 were measured
SLOWER = 0.9
# where a head grows faster than its baseline and is slower at the end
REASONS = {
    ('sapd', 'G'): 'its selection network, see above',
}
# why a head is slower than its baseline somewhere
_ALLOCATOR = (
    'its losses see all levels at once; glibc gives tensors above its mmap '
    'threshold back after every operator, which a CPU notices: 0.9 to 1 with '
    '`MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` above all sizes'
)
SLOWER_BECAUSE = {
    'ap_loss': 'sorts scores and ranks each positive among the negatives, '
    'where the focal loss is a function of each score',
    'atss': _ALLOCATOR,
    'autoassign': 'negative weights of all classes at all points, where mmdet '
    'writes those of the points in each object; its cross entropy lets NaN '
    'through',
    'borderdet': 'two stages, each with its losses and its boxes',
    'fsaf': "RetinaNet's losses and boxes and those of the anchor-free branch",
    'gaussian_yolov3': 'a standard deviation of each side',
    'gfl': _ALLOCATOR,
    'guided_anchoring': "mmdet's prediction; random weights keep other "
    'locations',
    'hambox': 'decodes all anchors and matches a second time',
    'mal': 'its cross entropy lets NaN through; with few objects there is '
    'little beside it',
    'rdsnet': 'arranges the representations by anchor, 64 numbers each, which '
    'RetinaNet does not have; its losses see all levels at once, as those of '
    'gfl',
    'reppoints': 'detections keep their points',
    'sapd': 'a network with RoIAlign on all levels looks at each object to '
    'select levels',
}
_ROW = re.compile(r'(\w+) (loss|predict) P=(\d+) (G|classes)=(\d+) B=\d+')

Point = tuple[int, dict]
"""Size and row."""


def curves(rows: list[dict]) -> dict[tuple[str, str], list[Point]]:
    """Rows by head and by what grows, ascending.

    Args:
        rows: Of ``tools/benchmark/growth.py``.

    Returns:
        dict: (method, key of ``AXES``) -> sizes with their rows; two at least.
    """
    losses: dict[str, list[tuple[int, int, dict]]] = {}
    found: dict[tuple[str, str], list[Point]] = {}
    for row in rows:
        slug, work, priors, key, size = _ROW.fullmatch(row['name']).groups()
        if work == 'predict':
            found.setdefault((slug, key), []).append((int(size), row))
        else:
            point = int(priors), int(size), row
            losses.setdefault(slug, []).append(point)
    for slug, points in losses.items():
        first = min(p for p, _, _ in points)
        several = {g for p, g, _ in points if p > first}
        found[slug, 'G'] = [(g, row) for p, g, row in points if p == first]
        found[slug, 'P'] = [(p, row) for p, g, row in points if g in several]
    return {
        key: sorted(points, key=lambda point: point[0])
        for key, points in sorted(found.items())
        if len(points) > 1
    }


def exponent(points: list[Point], side: str) -> float:
    """Exponent k of time ~ size^k, from the middle size to the largest.

    Args:
        points: Sizes and rows, ascending.
        side: 'ours_s' or 'peer_s'.
    """
    (low, first), (high, last) = points[(len(points) - 1) // 2], points[-1]
    return math.log(last[side] / first[side]) / math.log(high / low)


def slower(rows: list[dict]) -> Iterator[str]:
    """Heads that are slower than their baseline at some size.

    Raises:
        ValueError: One of them has no reason.
    """
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for row in rows:
        slug, work, priors, key, size = _ROW.fullmatch(row['name']).groups()
        if row['ratio'] < SLOWER and row['ratio_max'] < 1:
            where = f'P={priors} {key}={size}'
            found.setdefault((slug, work), []).append((row['ratio'], where))
    yield (
        f'Heads with a ratio below {SLOWER}, and below 1 in all pairs of '
        'measurements:\n'
    )
    yield '| head | slower in | sizes | lowest ratio | reason |'
    yield '| --- | --- | --- | --- | --- |'
    for (slug, work), sizes in sorted(found.items()):
        if slug not in SLOWER_BECAUSE:
            raise ValueError(
                f'{slug} is slower than its baseline: give SLOWER_BECAUSE of '
                'growth_page.py a reason'
            )
        ratio, where = min(sizes)
        yield (
            f'| {slug} | {work} | {len(sizes)} | {ratio:.2f} at {where} '
            f'| {SLOWER_BECAUSE[slug]} |'
        )
    yield ''


def lines(rows: list[dict]) -> Iterator[str]:
    """Figure, and the heads that are slower or grow faster than others.

    Raises:
        ValueError: Such a head is slower at the end and has no reason.
    """
    yield (
        f'![Time over objects, priors and classes, heads and baselines]'
        f'(images/{FIGURE})'
    )
    yield ''
    yield from slower(rows)
    losses = [m for r in rows if (m := _ROW.fullmatch(r['name']))[2] == 'loss']
    if losses:
        objects = max(int(match[5]) for match in losses)
        priors = max(int(match[3]) for match in losses)
        yield f'Measured with up to {objects} objects and {priors} priors.\n'
    yield (
        'Exponent: k of time ~ size^k, from the middle size to the largest. '
        'Listed are\nheads whose exponent exceeds that of their baseline by '
        f'more than {MARGIN}.'
    )
    yield ''
    yield '| head | grows | exponent | baseline | ratio at the end | reason |'
    yield '| --- | --- | --- | --- | --- | --- |'
    for (slug, key), points in curves(rows).items():
        ours, peer = (exponent(points, side) for side in ('ours_s', 'peer_s'))
        if ours <= peer + MARGIN:
            continue
        ratio = points[-1][1]['ratio']
        reason = REASONS.get((slug, key))
        if reason is None:
            if points[-1][1]['ratio_max'] < 1:
                raise ValueError(
                    f'{slug} grows faster with {AXES[key]} than its baseline '
                    'and is slower: give REASONS of growth_page.py a reason'
                )
            reason = 'faster at all sizes, most where they are small'
            if ratio < 1:
                reason = 'the same within the spread at the end'
            elif points[0][1]['ratio'] < 1:
                reason = 'faster at the largest size'
        yield (
            f'| {slug} | {AXES[key]} | {ours:.2f} | {peer:.2f} | {ratio:.2f} '
            f'| {reason} |'
        )
    yield ''
