"""Published and own numbers next to each other, in every format."""

import dataclasses

import pytest

from mmdet_assigners.catalog import Model, Published, Reference, Table
from mmdet_assigners.reproduction.cost import Cost
from mmdet_assigners.reproduction.formats import (
    to_csv,
    to_latex,
    to_markdown,
)
from mmdet_assigners.reproduction.labels import by_config, by_folder
from mmdet_assigners.reproduction.report import run_sections, table_sections

from .conftest import result


def published(value, dataset='COCO val', source='paper, table 1', **further):
    return Published('box AP', value, dataset, source, **further)


BASE = Model(
    'mmdet::a/base_r50.py', 'mmdet::a/base_r50.py', 'the_base',
    published=(published(36.0),), parameters=1e6, flops=2e9,
)  # fmt: skip
OURS = Model(
    'ours', 'configs/a/ours.py', 'a | b',
    published=(published(40.0, 'COCO test-dev'), published(38.5)),
    parameters=1e6, flops=3e9, metadata={'Baseline': BASE.name},
)  # fmt: skip
TABLE = Table('main', 'What it is.', (BASE, OURS))
SOURCES = {
    'paper': Reference('A paper', 'https://example.org/paper'),
    'other': Reference('Not used', 'https://example.org/other'),
}


def section(results, metric=None, table=TABLE):
    files = named(results)
    (found,) = table_sections(table, 'a/main', files, metric, SOURCES)
    return found


def named(results):
    return {f'{i}.json': one for i, one in enumerate(results)}


def test_not_run():
    found = section([result('another')])
    assert found.form is None
    assert [line.ours for line in found.lines] == [None, None]
    assert [line.published_gain for line in found.lines] == [None, 2.5]
    assert [line.flops for line in found.lines] == [2e9, 3e9]
    assert found.sources == (SOURCES['paper'],)


def test_seeds_and_gains():
    """Gains are those of the seeds that both have."""
    found = section([
        *(result('base_r50', seed, 0.30 + seed / 100) for seed in range(2)),
        *(result('ours', seed, 0.40 + seed / 50) for seed in range(3)),
    ])  # fmt: skip
    base, ours = found.lines
    assert ours.ours.mean == pytest.approx(42)
    assert ours.ours.spread == pytest.approx(2)
    assert base.gain is None
    assert ours.gain == pytest.approx(41 - 30.5)
    assert ours.baseline == 'base_r50'
    assert ours.difference == pytest.approx(42 - 38.5)
    assert ours.gain_seeds == (0, 1)
    text = 'The gain of ours is over seeds 0, 1, which both have.'
    assert text in to_markdown([found])


def test_gains_without_common_seeds():
    """An unknown seed is not common, though both are unknown."""
    for seeds, pair in ((1, 2), (0,)), ((None,), (None,)):
        found = section([
            *(result('base_r50', seed, 0.3) for seed in pair),
            *(result('ours', seed, 0.4) for seed in seeds),
        ])  # fmt: skip
        line = found.lines[1]
        assert (line.gain, line.gain_seeds) == (10, ())
        text = 'The gain of ours is that of the means: no seed is known'
        assert text in to_markdown([found])


def test_two_results_of_one_training():
    for seed in 0, None:
        results = [result('ours', seed), result('ours', seed, 0.1)]
        with pytest.raises(ValueError) as error:
            section(results)
        assert str(error.value) == (
            '0.json and 1.json are both ours, full, coco, 2 epochs, seed '
            f'{seed}: expected one of them'
        )
    # of no row
    section([result('another'), result('another')])


def test_the_number_to_compare_with():
    """That of the data and split of our test, not of test-dev."""
    assert section([]).lines[1].number == published(38.5)
    small = section([result('ours', data='shapes', form='mini')]).lines[1]
    assert (small.difference, small.flops) == (None, None)
    assert small.published_gain == 2.5
    assert '38.5 (COCO val; paper, table 1)' in small.published
    other = section([result('ours', parameters=400_000)]).lines[1]
    assert (other.difference, other.flops) == (None, None)


def test_forms_and_datasets_never_mix():
    results = [
        result('ours', 0),
        result('ours', 1, form='mini', data='shapes'),
        result('ours', 2, form='mini', data='bccd'),
    ]
    found = table_sections(TABLE, 'a/main', named(results))
    places = [(one.form, one.data) for one in found]
    assert places == [('full', 'coco'), ('mini', 'shapes'), ('mini', 'bccd')]
    assert [len(s.lines[1].ours.values) for s in found] == [1, 1, 1]


def test_lengths_of_schedules_do_not_mix():
    results = [result('ours'), result('ours', epochs=1, last_epoch=1)]
    lines = section(results).lines
    assert [line.config for line in lines] == [BASE.name, 'ours', 'ours']


def test_gains_are_over_the_same_length():
    short = dict(epochs=1, last_epoch=1)
    results = [
        result('base_r50', 0, 0.3),
        result('ours', 0, 0.35),
        result('base_r50', 0, 0.1, **short),
        result('ours', 0, 0.2, **short),
        result('ours', 0, 0.9, epochs=9, last_epoch=9),
    ]
    found = section(results)
    gains = [(one.config, one.length[0], one.gain) for one in found.lines]
    assert gains == [
        (BASE.name, 2, None), (BASE.name, 1, None),
        ('ours', 2, 5), ('ours', 1, 10), ('ours', 9, None),
    ]  # fmt: skip
    assert [one.published_gain for one in found.lines[2:]] == [2.5] * 3
    text = to_markdown([found])
    assert '| config | what | epochs | published |' in text
    assert '| ours | a \\| b | 9 |' in text
    (found,) = run_sections(by_config(results), {'ours': OURS})
    assert [one.gain for one in found.lines] == [None, None, 5, 10, None]
    rows = to_csv([found]).splitlines()
    assert rows[0].split(',')[4:8] == ['config', 'what', 'epochs', 'unit']
    assert rows[4].split(',')[4:8] == ['ours', 'a | b', '1', 'epoch']


def test_seeds_of_the_gains_of_two_lengths():
    long = dict(epochs=9, last_epoch=9)
    results = [
        *(result('base_r50', seed, 0.3) for seed in (0, 1)),
        result('base_r50', 0, 0.3, **long),
        result('ours', 0, 0.4),
        result('ours', 1, 0.5, **long),
    ]
    text = to_markdown([section(results)])
    assert 'The gain of ours at 2 epochs is over seed 0, which both ' in text
    assert 'The gain of ours at 9 epochs is that of the means: no' in text


def test_iterations_are_no_epochs():
    results = [result(), result(unit='iteration')]
    text = to_markdown([section(results)])
    assert '| ours | a \\| b | 2 |' in text
    assert '| ours | a \\| b | 2 iterations |' in text


def test_unfinished_trainings_do_not_count():
    results = [result('ours', 0, 0.1, last_epoch=1), result('ours', 1, 0.4)]
    line = section(results).lines[1]
    assert line.ours.values == {1: 40}
    assert '| epoch 1 of 2 |' in to_markdown([section(results[:1])])


def test_without_the_metric():
    """A training that has other metrics was run."""
    mask = {'coco/bbox_mAP': None, 'coco/segm_mAP': 0.3}
    results = [
        result(metrics=mask),
        result(seed=1, metrics=mask, last_epoch=1),
    ]
    line = section(results).lines[1]
    assert (line.ours, line.state) == (None, 'no coco/bbox_mAP, epoch 1 of 2')
    assert line.state in to_markdown([section(results)])


def test_augmented_tests_have_a_line_of_their_own():
    numbers = (*OURS.published, published(41.0, 'COCO val, flip test'))
    row = dataclasses.replace(OURS, published=numbers)
    metrics = {'coco/bbox_mAP': 0.39, 'tta/coco/bbox_mAP': 0.42}
    found = section([result(metrics=metrics)], table=Table('m', '', (row,)))
    plain, flipped = found.lines
    assert (plain.ours.mean, flipped.ours.mean) == (39, 42)
    assert flipped.what == 'a | b, augmented test'
    assert flipped.difference == pytest.approx(1)


def test_gains_of_augmented_tests_are_over_augmented_tests():
    """A row that has no other test needs no word for it."""
    flipped = (published(39.0, 'COCO val, flip test'),)
    base = dataclasses.replace(BASE, published=(*BASE.published, *flipped))
    flipped = (published(42.0, 'COCO val, flip test'),)
    row = dataclasses.replace(OURS, published=flipped)
    metrics = {'coco/bbox_mAP': 0.3, 'tta/coco/bbox_mAP': 0.35}
    results = [
        result('base_r50', metrics=metrics),
        result(metrics={'tta/coco/bbox_mAP': 0.4}),
    ]
    *_, line = section(results, table=Table('m', '', (base, row))).lines
    assert (line.augmented, line.what) == (True, 'a | b')
    assert line.gain == pytest.approx(5)
    assert line.published_gain == 3


def test_metrics():
    mask = {'coco/bbox_mAP': 0.4, 'coco/segm_mAP': 0.3}
    results = [result(metrics=mask)]
    assert section(results, 'mask AP').lines[1].ours.mean == 30
    assert section(results, 'coco/segm_mAP').metric == 'coco/segm_mAP'
    with pytest.raises(ValueError, match='no result has x; there are coco/b'):
        section(results, 'x')
    voc = section([result(metrics={'pascal_voc/mAP': 0.8})])
    assert (voc.metric, voc.lines[1].ours.mean) == ('pascal_voc/mAP', 80)
    assert voc.lines[1].difference is None
    error = section([result(metrics={'loss': 0.8})])
    assert error.lines[1].ours.mean == 0.8


def test_any_trainings():
    results = [result('mine', 0), result('mine', 1), result('ours', 0, 0.5)]
    (found,) = run_sections(by_config(results), {'ours': OURS})
    assert [line.config for line in found.lines] == ['mine', 'ours']
    assert [line.what for line in found.lines] == ['', 'a | b']
    assert found.lines[1].gain == pytest.approx(10)


def test_trainings_of_one_config_with_the_same_seed():
    """Of the same config, but not repetitions."""
    results = [
        result('mine', work_dir='runs/a/x'), result('mine', work_dir='b/x'),
    ]  # fmt: skip
    assert list(by_config(results)) == ['a/x', 'b/x']
    (found,) = run_sections(by_folder(results), {})
    assert [line.config for line in found.lines] == ['a/x', 'b/x']
    assert [line.what for line in found.lines] == ['mine', 'mine']
    # a config has no gain over itself
    assert [line.gain for line in found.lines] == [None, None]


def test_no_training_is_lost():
    """Folders of the same name, the name of a config, one folder twice."""
    results = [
        result('a', work_dir='runs/a/x'), result('a', work_dir='b'),
        result('b', work_dir='runs/b/x'), result('b', work_dir='x'),
        result('c', work_dir='x'), result('c', work_dir='x'),
        result('d', work_dir='y/x'), result('a', 1, epochs=1, last_epoch=1),
    ]  # fmt: skip
    runs = by_config(results)
    assert sorted(id(one) for all_ in runs.values() for one in all_) == sorted(
        map(id, results)
    )
    assert not any(label.startswith('//') for label in runs)
    assert [label for label in runs if label in 'abcd'] == ['d', 'a']
    assert len(runs) == len(results)
    for found in run_sections(runs, {}):
        assert len(found.lines) == len(results)
        assert all(line.ours for line in found.lines)


def test_one_folder_twice():
    results = [result('a', work_dir='/x'), result('a', work_dir='/x')]
    assert list(by_folder(results)) == ['x', 'x (2)']
    assert list(by_folder(results, {'x'})) == ['/x', '/x (2)']
    assert by_folder([]) == {}


def test_baselines_are_found_by_their_config():
    """Though the trainings are named by their folders."""
    results = [
        result('other', 0, 0.9, work_dir='p'),
        result('ours', 0, 0.4, work_dir='q'),
        result('base_r50', 0, 0.3, work_dir='r'),
    ]
    (found,) = run_sections(by_folder(results), {'ours': OURS})
    lines = {line.config: line for line in found.lines}
    assert (lines['q'].baseline, lines['q'].gain) == ('r', 10)
    assert (lines['r'].baseline, lines['r'].gain) == ('p', -60)
    runs = {'a/x': results[:1], 'b/x': results[1:2]}
    assert 'Gains are over a/x.' in to_markdown(run_sections(runs, {}))


def test_gains_of_zero():
    """Without -0.0, and without noise of the last digits."""
    found = section([result('base_r50', 0, 0.3), result('ours', 0, 0.2996)])
    assert '| +0.0 |' in to_markdown([found])
    assert '-0.0' not in to_markdown([found])
    found = section([result('base_r50', 0, 0.3), result('ours', 0, 0.1 + 0.2)])
    assert str(found.lines[1].gain) == '0.0'


def test_whose_gains():
    text = 'Gains are over base_r50.'
    assert text in to_markdown([section(RESULTS)])
    assert text not in to_markdown([section(RESULTS[1:])])
    assert f'Published {text.lower()}' in to_markdown([section(RESULTS[1:])])
    assert 'over' not in to_markdown(
        [section([], table=Table('a', '', (BASE,)))]
    )


RESULTS = [
    result('base_r50', 0, 0.36),
    result('ours', 0, 0.38),
    result('ours', 1, 0.39),
]


def test_markdown():
    assert (
        to_markdown([section(RESULTS)])
        == """\
### a/main: coco, coco/bbox_mAP

What it is.

| config | what | published | ours | ours - published | gain | \
published gain | params | FLOPs | s / step | commit |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| mmdet::a/base_r50.py | the_base | 36.0 (val; paper, table 1) | \
36.0 (1 seed) | +0.0 |  |  | 1.00 M | 2.0 G | 0.500 | 0123456 |
| ours | a \\| b | 40.0 (test-dev; paper, table 1), \
38.5 (val; paper, table 1) | 38.5 ± 0.7 (2 seeds) | +0.0 | +2.0 | +2.5 | \
1.00 M | 3.0 G | 0.500 | 0123456 |

Gains are over base_r50.

The gain of ours is over seed 0, which both have.

Trained with torch 2.6.0, a CPU, 1 thread, 1 process.

[A paper](https://example.org/paper)"""
    )


def test_latex():
    assert (
        to_latex([section(RESULTS[1:2])]) == r"""\begin{table}
\centering
\caption{a/main: coco, coco/bbox\_mAP}
\begin{tabular}{lllrrrrrrl}
\toprule
config & what & published & ours & ours - published & published gain & """
        r"""params & FLOPs & s / step & commit \\
\midrule
mmdet::a/base\_r50.py & the\_base & 36.0 (val; paper, table 1) & not run """
        r"""&  &  & 1.00 M & 2.0 G &  &  \\
ours & a | b & 40.0 (test-dev; paper, table 1), 38.5 (val; paper, table 1)"""
        r""" & 38.0 (1 seed) & -0.5 & +2.5 & 1.00 M & 3.0 G & 0.500 & """
        r"""0123456 \\
\bottomrule
\end{tabular}
\end{table}"""
    )


def test_csv():
    cost = Cost(2_000_000, 5, 0.25, 100.0, (8, 8), 'cpu')
    found = section(RESULTS[1:])
    lines = tuple(dataclasses.replace(one, cost=cost) for one in found.lines)
    text = to_csv([dataclasses.replace(found, lines=lines)])
    assert text.splitlines() == [
        'table,form,data,metric,config,what,epochs,unit,published,ours,'
        'spread,seeds,difference,gain,published_gain,parameters,flops,seconds_per_iter,'
        'memory_mib,inference_seconds,inference_memory_mib,commits,'
        'environment',
        'a/main,full,coco,coco/bbox_mAP,mmdet::a/base_r50.py,the_base,,,"36.0 '
        '(val; paper, table 1)",,,0,,,,1000000,5,,,0.25,100,,',
        'a/main,full,coco,coco/bbox_mAP,ours,a | b,2,epoch,"40.0 (test-dev; '
        'paper, table 1), 38.5 (val; paper, table 1)",38.5,0.7071067812,2,0,,'
        '2.5,1000000,5,0.5,,0.25,100,0123456,"torch 2.6.0, a CPU, 1 thread, '
        '1 process"',
    ]  # fmt: skip


def test_costs_in_markdown():
    cost = Cost(2_000_000, 5 * 10**9, 0.0251, None, (480, 640), 'cpu')
    found = section([])
    lines = tuple(dataclasses.replace(one, cost=cost) for one in found.lines)
    text = to_markdown([dataclasses.replace(found, lines=lines)])
    assert '| 5.0 G | 25.1 ms |' in text
    assert 'inference memory' not in text
    assert 'inference of an image of 640x480 on cpu.' in text


def test_environments_that_differ_name_their_rows():
    other = result('ours', 0, versions={'torch': '2.7.0'})
    text = to_markdown([section([RESULTS[0], other])])
    assert 'a CPU, 1 thread, 1 process (mmdet::a/base_r50.py).' in text
    assert 'torch 2.7.0, a CPU, 1 thread, 1 process (ours).' in text
