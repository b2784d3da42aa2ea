"""The small-scale page claims what its runs show, and is up to date."""

import json
import math
import re
from pathlib import Path

import pytest
import small_scale_figures
import small_scale_page
import small_scale_report
import small_scale_stats
from matplotlib.text import Annotation
from PIL import Image
from scipy import stats

ROOT = Path(__file__).parents[1]
ROWS = small_scale_page.compared_rows()
SEEDS = small_scale_stats.SEEDS
TUNING = small_scale_stats.TUNING_SEED
# noise that the five seeds share, so pairs differ by far less than runs
NOISE = (0.02, -0.01, 0.0, 0.015, -0.025)
RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
ATSS = 'mmdet::atss/atss_r50_fpn_1x_coco.py'


def run(seed, value, lr=0.001, before=0.0, epochs=8):
    """One run that ends at a mAP, and was ``before`` below it at 75 %."""
    return {
        'seed': seed,
        'rate': lr,
        'epochs': epochs,
        'bbox_mAP': value,
        'bbox_mAP_50': value + 0.2,
        'bbox_mAP_75': value - 0.1,
        'per_class': {'a': value - 0.1, 'b': value + 0.1},
        'curve': [value / 2, value - before, value],
        'curve_epochs': [4, 6, 8],
        'versions': {'torch': '2'},
    }


def result(config, values, data='bccd', before=0.0, epochs=8):
    tuning = [run(TUNING, 0.3 + lr, lr) for lr in (0.0005, 0.001, 0.0001)]
    return {
        'config': config,
        'data': data,
        'parameters': 1_000_000,
        'runs': [
            *tuning,
            *(
                run(s, v, before=before, epochs=epochs)
                for s, v in enumerate(values)
            ),
        ],
    }


def around(mean):
    return [mean + noise for noise in NOISE]


def nearly(mean):
    """As `around`, and the pairing leaves some noise."""
    rest = (1e-3, -1e-3, 0, 2e-3, 0)
    return [v + n for v, n in zip(around(mean), rest, strict=True)]


def write(root, *results):
    for content in results:
        name = Path(content['config']).stem
        folder = root / small_scale_page.RESULTS / content['data']
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'{name}.json').write_text(json.dumps(content))


def summarize(root, *results):
    write(root, *results)
    return small_scale_stats.summarize(root, ROWS)


def the_pair(summary, config=ATSS, data='bccd'):
    (pair,) = (
        p
        for p in summary['data'][data]['pairs']
        if p['config'] == config and p['baseline'] == RETINA
    )
    return pair


def test_paired_difference(tmp_path):
    ours = [0.45, 0.43, 0.44, 0.46, 0.42]
    theirs = [0.41, 0.42, 0.41, 0.42, 0.40]
    pair = the_pair(
        summarize(tmp_path, result(ATSS, ours), result(RETINA, theirs))
    )
    # 0.04, 0.01, 0.03, 0.04, 0.02: mean 0.028, sd 0.013038; t(4) = 2.7764
    assert pair['difference'] == pytest.approx(0.028)
    assert pair['low'] == pytest.approx(0.028 - 0.016189, abs=1e-5)
    assert pair['high'] == pytest.approx(0.028 + 0.016189, abs=1e-5)
    assert pair['p'] == pytest.approx(
        stats.ttest_rel(ours, theirs).pvalue, rel=1e-3
    )
    assert pair['verdict'] == 'above'


@pytest.mark.parametrize(
    ('difference', 'before', 'expected'),
    [
        (0.1, 0.0, 'above'),
        (-0.1, 0.0, 'below'),
        (0.1, 0.029, 'above'),
        (0.1, 0.031, 'not settled'),  # more than 0.03
        (0.02, 0.009, 'above'),
        (0.02, 0.011, 'not settled'),  # more than half of 0.02
        (0.02, -0.011, 'not settled'),  # also falling
        (0.0, 0.0, 'not told apart'),
    ],
)
def test_verdicts(tmp_path, difference, before, expected):
    """Also if the baseline alone still moves."""
    summary = summarize(
        tmp_path,
        result(ATSS, nearly(0.4 + difference)),
        result(RETINA, around(0.4), before=before),
    )
    assert the_pair(summary)['verdict'] == expected


@pytest.mark.parametrize(
    ('before', 'expected'), [(0.02, 'above'), (0.031, 'not settled')]
)
def test_curves_that_rise_together(tmp_path, before, expected):
    """A difference that was there before is settled, if both are nearly."""
    summary = summarize(
        tmp_path,
        result(ATSS, nearly(0.42), before=before),
        result(RETINA, around(0.4), before=before),
    )
    assert the_pair(summary)['verdict'] == expected


def test_without_evaluations_there_is_no_order(tmp_path):
    ours, theirs = result(ATSS, nearly(0.5)), result(RETINA, around(0.4))
    for single in ours['runs']:
        single['curve'] = single['curve'][-1:]
        single['curve_epochs'] = [8]
    pair = the_pair(summarize(tmp_path, ours, theirs))
    assert pair['moves'][0] is None
    assert pair['verdict'] == 'not settled'


def test_some_seeds(tmp_path):
    summary = summarize(
        tmp_path,
        result(ATSS, nearly(0.5)[:4]),
        result(RETINA, around(0.4)[:3]),
    )
    pair = the_pair(summary)
    assert pair['seeds'] == [0, 1, 2]
    assert pair['verdict'] == '3 of 5 seeds'
    assert 'holm' not in pair
    models = summary['data']['bccd']['models']
    assert models[ATSS]['seeds'] == [0, 1, 2, 3]


def test_one_seed_has_no_interval(tmp_path):
    write(tmp_path, result(ATSS, [0.5]), result(RETINA, [0.4]))
    assert report(tmp_path)
    assert '| +0.100 | 1 of 5 seeds |' in page(tmp_path)


def test_the_tuned_rate_counts(tmp_path):
    content = result(ATSS, nearly(0.5))
    content['runs'] += [run(seed, 0.1, lr=0.0005) for seed in SEEDS]
    model = summarize(tmp_path, content)['data']['bccd']['models'][ATSS]
    assert (model['lr'], model['tried']) == (0.001, [0.0001, 0.0005, 0.001])
    assert model['at_edge']
    assert model['bbox_mAP'] == pytest.approx(0.5, abs=1e-3)


def test_per_class(tmp_path):
    content = result(ATSS, [0.5, 0.3])
    content['runs'][-1]['per_class'] = {}  # nothing was detected
    data = summarize(tmp_path, content)['data']['bccd']
    assert data['classes'] == ['a', 'b']
    values = data['models'][ATSS]['per_class']
    assert values == pytest.approx([0.2, 0.3])


def test_ties_of_the_tuning_go_to_the_first():
    content = {'runs': [run(TUNING, 0.3, lr) for lr in (0.001, 0.01, 0.0001)]}
    assert small_scale_stats.learning_rate(content)[0] == 0.001


def test_results_that_cannot_be_compared(tmp_path):
    with pytest.raises(ValueError, match=r'8 epochs, its baseline .* for 12'):
        summarize(
            tmp_path,
            result(ATSS, around(0.5)),
            result(RETINA, around(0.4), epochs=12),
        )
    content = result(ATSS, around(0.5))
    content['runs'].append(run(2, 0.4))
    with pytest.raises(ValueError, match='two runs of seed 2'):
        small_scale_stats.counted_runs(content)
    content['runs'] = [run(0, 0.4, 0.1), run(1, 0.4, 0.2)]
    with pytest.raises(ValueError, match='no run with the tuning seed 100'):
        small_scale_stats.learning_rate(content)


def test_holm():
    # 0.05 / 4, / 3, / 2: the third fails, and so does what is behind it
    values = [0.03, 0.012, 0.04, 0.016]
    assert small_scale_stats.holm(values) == [False, True, False, True]
    assert small_scale_stats.holm([0.03, 0.012, 0.04, 0.017]) == [
        False, True, False, False,
    ]  # fmt: skip
    assert small_scale_stats.holm([]) == []


def test_rank_correlation():
    x = [0.1, 0.2, 0.3, 0.5, 0.4, 0.6]
    found = small_scale_stats.correlation(x, [1, 2, 3, 4, 5, 6])
    assert found['rho'] == pytest.approx(1 - 6 * 2 / (6 * 35))
    assert found['low'] < found['rho'] < found['high']
    assert found['high'] == pytest.approx(1)
    assert small_scale_stats.correlation(x[:4], [1, 2, 3, 4]) is None


def all_results(data):
    """Of every row: half above its baseline, as published; one contradicts."""
    found = {}
    for index, row in enumerate(ROWS):
        gain = row.gain.value if row.gain else 0.5
        value = 0.4 if not row.baseline else 0.4 + gain / 100
        if row.config not in found:
            found[row.config] = result(
                row.config,
                [v + 1e-4 * math.sin(index + s) for s, v in
                 enumerate(around(value))],
                data,
            )  # fmt: skip
    return found


def report(root):
    """Run the report in a tree that has the metafiles of this one."""
    for name in ('configs', 'mmdet_assigners'):
        if not (root / name).exists():
            (root / name).symlink_to(ROOT / name)
    notes = root / small_scale_page.RESULTS / 'notes.md'
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text('Notes.\n')
    (root / 'docs').mkdir(exist_ok=True)
    summary = small_scale_stats.summarize(root, ROWS)
    (root / small_scale_page.SUMMARY).write_text(json.dumps(summary))
    small_scale_figures.draw(root, summary, ROWS)
    return summary


def page(root):
    return small_scale_page.render(root)


def test_page_of_all_runs(tmp_path):
    for data in small_scale_page.DATA:
        results = all_results(data)
        sepc = 'sepc_fsaf_r50_fpn_1x_coco'
        if data == 'bccd':
            results[sepc] = result(sepc, nearly(0.2), data)
        write(tmp_path, *results.values())
    summary = report(tmp_path)
    text = page(tmp_path)
    line = next(t for t in text.splitlines() if 'sign differs' in t)
    assert (
        'on BCCD: ' in line and '[SEPC-FSAF](../configs/sepc/README.md' in line
    )
    assert 'Above on one dataset and below on the other: [SEPC-FSAF]' in text
    assert '**Above its baseline on both datasets:** [FCOS against R' in text
    pairs = [p for d in summary['data'].values() for p in d['pairs']]
    assert f'{len(pairs)} differences are compared with zero' in text
    kept = sum(pair['holm'] for pair in pairs)
    assert 0 < kept <= len(pairs)
    assert text.count('`*` |') == kept
    for name in re.findall(r'\((images/\S+)\)', text):
        assert (tmp_path / 'docs' / name).is_file()
    assert text.count('](images/') == 3


def test_labels_do_not_overlap(tmp_path):
    results = all_results('bccd')
    write(tmp_path, *results.values())
    summary = small_scale_stats.summarize(tmp_path, ROWS)
    figure = small_scale_figures.gain_figure(summary, ROWS)
    renderer = figure.canvas.get_renderer()
    # annotations are the lines that lead to a label
    boxes = [
        text.get_window_extent(renderer)
        for text in figure.axes[0].texts
        if not isinstance(text, Annotation)
    ]
    assert len(boxes) == sum(row.gain is not None for row in ROWS)
    assert not any(
        box.overlaps(other)
        for index, box in enumerate(boxes)
        for other in boxes[:index]
    )


MASKS = 'mask-refining-rcnn_r50_fpn_1x_coco'


def names_on(data):
    """Stems of the configs that are trained on a dataset."""
    return {
        Path(row.config).stem
        for row in ROWS
        if small_scale_page.runs_on(row, data)
    }


def test_page_without_runs(tmp_path):
    report(tmp_path)
    text = page(tmp_path)
    assert 'No pair has all seeds yet.' in text
    assert 'images/' not in text
    for data in small_scale_page.DATA:
        assert f'Not run: all {len(names_on(data))}.' in text.splitlines()


def test_page_names_what_was_not_run(tmp_path):
    first, *_ = all_results('bccd').values()
    write(tmp_path, first)
    report(tmp_path)
    text = page(tmp_path)
    (line,) = [t for t in text.splitlines() if t.startswith('Not run (')]
    names = re.findall('`(.+?)`', line)
    missing = names_on('bccd') - {Path(first['config']).stem}
    assert sorted(names) == sorted(missing)
    assert MASKS not in names and MASKS in names_on('shapes')


def test_tuning_runs_alone_are_a_first_look(tmp_path):
    """Beside their baseline, in no ranking, and not among the missing."""
    method = 'd2det_r50_fpn_2x_coco'
    baseline = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    look = result(method, [])
    look['runs'] = [run(TUNING, 0.432, 0.002, epochs=6)]
    summary = summarize(
        tmp_path,
        look,
        result(baseline, nearly(0.4)),
        result(RETINA, around(0.4)),
        result(ATSS, nearly(0.5)),
    )
    found = summary['data']['bccd']
    assert list(found['first_look']) == [baseline, method]
    assert method not in found['models']
    report(tmp_path)
    text = page(tmp_path)
    look = text.partition('First look')[2].partition('Not run')
    head, _, *lines = look[0].partition('| model')[2].strip().splitlines()
    assert 'lr 0.0005 | mAP, lr 0.001 | mAP, lr 0.002' in head
    (line,) = [t for t in lines if 'D2Det' in t]
    cells = line.partition('README.md) | ')[2].split(' | ')
    assert cells == ['-', '-', '-', '0.432', '0.632', '6', '1.00 M |']
    assert 'Faster R-CNN (mmdet)' in look[0]
    assert 'RetinaNet' not in look[0] and method not in look[2]


def test_first_look_at_masks(tmp_path):
    masks = result(MASKS, [], 'shapes')
    for single in masks['runs']:
        single['segm_mAP'] = single['bbox_mAP'] - 0.2
    baseline = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
    write(tmp_path, masks, result(baseline, [], 'shapes'))
    report(tmp_path)
    text = page(tmp_path).partition('First look')[2].partition('Not run')[0]
    head, *lines = [t.split('|') for t in text.splitlines() if '|' in t]
    column = head.index(' mask mAP ')
    cells = {t[1].strip(' [').partition(']')[0]: t[column] for t in lines[1:]}
    # the best rate has box mAP 0.301
    assert cells == {
        'Mask R-CNN (mmdet)': '  ',
        'Mask Refining R-CNN': ' 0.101 ',
    }


def test_spread_of_a_single_pair(tmp_path):
    """Over the complete pairs; `nearly` adds 1, -1, 0, 2, 0 thousandths."""
    summary = summarize(
        tmp_path, result(RETINA, around(0.4)), result(ATSS, nearly(0.5))
    )
    # mean 0.4, squares 6 - 5 * 0.16 = 5.2 over 4
    assert summary['deviation'] == pytest.approx(1.1402e-3, rel=1e-3)


def test_masks_have_a_column(tmp_path):
    masks = result(MASKS, [0.5, 0.6], 'shapes')
    for index, single in enumerate(masks['runs']):
        single['segm_mAP'] = 0.3 + index / 100
    write(tmp_path, masks, result(RETINA, [0.4], 'shapes'))
    report(tmp_path)
    table = page(tmp_path).partition('| model | mAP | AP50')[2]
    head, _, *lines = table.partition('\n\n')[0].splitlines()
    column = head.split('|').index(' mask mAP ') + 3
    rows = {t.split('|')[1].strip(' ['): t.split('|') for t in lines}
    (row,) = [rows[name] for name in rows if 'Mask Refining' in name]
    # of the two seeds, behind three tuning runs
    assert row[column] == ' 0.335 '
    assert rows['RetinaNet (mmdet)'][column] == '  '


def test_report_names_the_bad_result(tmp_path, capsys):
    write(tmp_path, result(ATSS, [0.5]), result(RETINA, [0.5], epochs=9))
    for name in ('configs', 'mmdet_assigners'):
        (tmp_path / name).symlink_to(ROOT / name)
    assert small_scale_report.main(tmp_path) == 1
    assert 'was trained for 8 epochs' in capsys.readouterr().err


def test_committed_summary_is_current():
    """``python tools/dev/small_scale_report.py`` brings it up to date."""
    path = ROOT / small_scale_page.SUMMARY
    committed = json.loads(path.read_text())
    fresh = json.loads(json.dumps(small_scale_stats.summarize(ROOT, ROWS)))
    assert_close(committed, fresh)
    for figure in (ROOT / small_scale_page.IMAGES).glob('small_scale_*.png'):
        found = Image.open(figure).text['Description']
        assert found == small_scale_page.stamp(committed, ROWS), figure


def assert_close(one, other):
    """Equal but for the last digits of other versions of numpy."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_close(value, other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for value, expected in zip(one, other, strict=True):
            assert_close(value, expected)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)
    else:
        assert one == other
