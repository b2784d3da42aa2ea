"""Results that are read from work folders."""

import dataclasses
import json

import pytest

from mmdet_assigners.reproduction import results
from mmdet_assigners.reproduction.logs import _STOPPED as STOPPED
from mmdet_assigners.reproduction.results import collect, read, write

from .conftest import CONFIG, evaluation, step


def test_a_training(work_dir):
    folder = work_dir()
    folder.run(
        step(10, loss=3.0, memory=900),
        step(20, loss=2.0, time=0.7, memory=1000),
        evaluation(1, coco__bbox_mAP=0.25, coco__cat_precision=0.3),
        step(30, 2, loss=1.0, time=0.9),
        evaluation(2, coco__bbox_mAP=0.5, coco__cat_precision=0.4),
    ).checkpoint(experiment_name='atss_r50_20260101_000000', epoch=2, seed=3)
    found = collect(folder.path, commands=['train'])
    assert found == results.Result(
        config='atss_r50', data='cells', form='small', seed=3, unit='epoch',
        epochs=2, last_epoch=2, metrics={'coco/bbox_mAP': 0.5},
        per_class={'cat': 0.4}, curve_epochs=[1, 2],
        curve={'coco/bbox_mAP': [0.25, 0.5]}, loss_steps=[10, 20, 30],
        loss=[3.0, 2.0, 1.0], seconds_per_iter=0.7, memory_mib=1000,
        parameters=7, commands=['train'], commit=None,
        versions={'python': '3.11.7', 'torch': '2.6.0', 'mmengine': '0.10.7'},
        hardware={
            'cpu': None, 'gpu': 'NVIDIA H100', 'threads': None, 'processes': 2,
        },
        work_dir=str(folder.path),
    )  # fmt: skip
    assert found.finished


def test_a_resumed_training(work_dir):
    """The first start was killed in epoch 3, and lost it."""
    folder = work_dir()
    folder.run(
        *(step(10 * i, i, loss=float(i)) for i in (1, 2, 3, 4)),
        evaluation(1, coco__bbox_mAP=0.1),
        evaluation(2, coco__bbox_mAP=0.2),
        evaluation(3, coco__bbox_mAP=0.9),
        '{"loss": 0.',
        epochs=5,
    )
    folder.run(
        step(30, 3, loss=7.0),
        evaluation(3, coco__bbox_mAP=0.3),
        time='20260102_000000',
        epochs=5,
    )
    found = collect(folder.path)
    assert found.loss_steps == [10, 20, 30]
    assert found.loss == [1.0, 2.0, 7.0]
    assert found.curve == {'coco/bbox_mAP': [0.1, 0.2, 0.3]}
    assert (found.last_epoch, found.epochs, found.finished) == (3, 5, False)
    assert found.parameters is None


def test_a_second_training_in_the_same_folder(work_dir):
    folder = work_dir().run(step(50), evaluation(9, coco__bbox_mAP=0.9))
    folder.run(step(10), time='20260102_000000')
    found = collect(folder.path)
    assert (found.loss_steps, found.curve_epochs) == ([10], [])
    assert found.metrics == found.curve == {}


def test_lines_that_are_no_entries(work_dir):
    folder = work_dir()
    folder.run(step(10), '{"loss": 1.0, "ti', '[1]', '', '"x"', step(20))
    assert collect(folder.path).loss_steps == [10, 20]


def test_iterations(work_dir):
    config = CONFIG.replace(
        'max_epochs={epochs}', 'max_iters=40, val_interval=20'
    )
    entries = [step(n) for n in (10, 20, 30)]
    for entry in entries:
        del entry['epoch']
    folder = work_dir().run(
        *entries[:2],
        evaluation(20, coco__bbox_mAP=0.1),
        entries[2],
        config=config,
    )
    found = collect(folder.path)
    assert (found.unit, found.epochs, found.last_epoch) == (
        'iteration', 40, 30,
    )  # fmt: skip
    assert found.curve_epochs == [20]


def test_several_evaluators_and_hierarchy(work_dir):
    folder = work_dir()
    folder.run(
        {
            'train/loss': 2.0,
            'train/time': 0.25,
            'epoch': 1,
            'iter': 10,
            'step': 10,
        },
        {
            'val/coco/bbox_mAP': 0.4,
            'val/coco/segm_mAP': 0.3,
            'val/coco/cat_precision': 0.1,
            'val/other/cat_precision': 0.2,
            'val/pascal_voc/mAP': float('nan'),
            'val/time': 0.1,
            'step': 1,
        },
    )
    found = collect(folder.path)
    assert (found.loss, found.seconds_per_iter) == ([2.0], 0.25)
    assert found.metrics == {
        'coco/bbox_mAP': 0.4, 'coco/segm_mAP': 0.3, 'pascal_voc/mAP': None,
    }  # fmt: skip
    assert found.per_class == {'cat': 0.1, 'other/cat': 0.2}


def test_an_evaluation_without_detections(work_dir):
    """CocoMetric gives no metrics, but an AP of zero it is."""
    folder = work_dir().run(step(10), evaluation(1))
    assert collect(folder.path).metrics == {
        'coco/bbox_mAP': 0.0, 'coco/bbox_mAP_50': 0.0, 'coco/bbox_mAP_75': 0.0,
    }  # fmt: skip


def test_other_loops_and_old_folders(work_dir):
    """Without a config, a loss of this name, or a form."""
    bare = work_dir('bare').run({'loss': 1.0, 'time': 1.0}, config='')
    found = collect(bare.path)
    assert (found.config, found.data, found.form) == ('bare', '', 'full')
    arch = work_dir('arch').run(
        {'arch_loss': 1.0, 'iter': 1, 'epoch': 1, 'step': 1}
    )
    assert collect(arch.path).loss == []
    (arch.path / 'mine.py').write_text('x = 1')
    assert collect(arch.path).config == 'mine'


def test_the_config_of_a_test_is_not_that_of_the_training(work_dir):
    folder = work_dir().run(step(10), epochs=4)
    folder.run(time='20260102_000000', epochs=9)
    (folder.path / '20260102_000000/vis_data/scalars.json').write_text('')
    assert collect(folder.path).epochs == 4


def test_configs_are_not_executed(work_dir, tmp_path):
    proof = tmp_path / 'proof'
    code = f'x = open({str(proof)!r}, "w")\n'
    folder = work_dir().run(step(10), config=code + CONFIG)
    (folder.path / 'mine.py').write_text(code)
    assert collect(folder.path).epochs == 2
    assert not proof.exists()


def test_long_losses_are_thinned(work_dir):
    folder = work_dir().run(*(step(n) for n in range(1, 1002)))
    steps = collect(folder.path).loss_steps
    assert (len(steps), steps[0], steps[-1]) == (200, 1, 1001)


def test_what_is_no_training(work_dir, tmp_path):
    for make in (lambda: tmp_path / 'no', lambda: tmp_path / 'empty'):
        path = make()
        path.mkdir()
        with pytest.raises(FileNotFoundError, match='has no training: expec'):
            collect(path)
    with pytest.raises(FileNotFoundError, match='there is no work folder'):
        collect(tmp_path / 'missing')
    work_dir('log').run()
    with pytest.raises(FileNotFoundError, match='has no training'):
        collect(tmp_path / 'log')


def test_here_knows_the_machine(work_dir):
    found = collect(work_dir().run(step(1)).path, here=True)
    assert found.hardware['threads'] >= 1
    assert 'mmdet_assigners' in found.versions
    assert found.commit is None or len(found.commit) == 40


def test_written_and_read(work_dir, tmp_path):
    found = collect(work_dir().run(step(1)).path)
    write(found, tmp_path / 'a.json')
    assert read(tmp_path / 'a.json') == found
    # of a version that did not read it
    content = dataclasses.asdict(found)
    del content['stopped']
    (tmp_path / 'a.json').write_text(json.dumps(content))
    assert read(tmp_path / 'a.json') == found


STOPS = (
    'the monitored metric did not improve in the last 2 records. best score: '
    '0.300. ',
    'Stopping threshold reached: `coco/bbox_mAP` = 0.5 is greater than 0.4.',
)


@pytest.mark.parametrize(
    ('text', 'stopped'),
    [
        *((text, True) for text in STOPS),
        ('Monitored metric coco/bbox_mAP = nan is infinite. ', False),
    ],
)
def test_an_early_stop(work_dir, text, stopped):
    """Until it is resumed; a test in the same folder changes nothing."""
    folder = work_dir().run(
        step(10), evaluation(1, coco__bbox_mAP=0.3), epochs=9
    )
    (log,) = folder.path.glob('*/*.log')
    line = f'2026/01/01 00:00:09 - mmengine - INFO - {text}\n'
    log.write_text(log.read_text() + line)
    folder.run(time='20260102_000000', epochs=9)
    (folder.path / '20260102_000000/vis_data/scalars.json').write_text('')
    found = collect(folder.path)
    assert (found.stopped, found.finished) == (stopped, stopped)
    assert (found.last_epoch, found.epochs) == (1, 9)
    folder.run(step(20, 2), time='20260103_000000', epochs=9)
    assert not collect(folder.path).finished


def test_the_messages_of_early_stopping():
    """They are those that mmengine logs."""
    from mmengine.hooks import EarlyStoppingHook

    hook = EarlyStoppingHook('mAP', patience=1, stopping_threshold=0.9)
    hook._check_stop_condition(0.5)
    for score in (0.5, 0.95):
        _, text = hook._check_stop_condition(score)
        assert STOPPED.search(f'x - mmengine - INFO - {text}'), text


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(seed='x'), "a.json: seed is 'x', expected int"),
        (dict(metrics=[1]), r'metrics is .\[1\]., expected dict'),
        (dict(loss=[None]), 'loss is .*, expected list'),
        (dict(epochs=True), 'epochs is .True., expected int'),
        (dict(stopped=1), 'stopped is .1., expected bool'),
        (
            {'metrics': {'a/AP': float('nan')}},
            'a.json: metrics a/AP is nan, expected a finite number or null$',
        ),
        (
            {'curve': {'AP': [None, float('inf')]}, 'curve_epochs': [1, 2]},
            r'a.json: curve AP\[1\] is inf, expected a finite number or null$',
        ),
        (
            {'loss': [-float('inf')]},
            r'a.json: loss\[0\] is -inf, expected a finite number$',
        ),
        (dict(memory_mib=float('nan')), 'memory_mib is nan, expected a fin'),
        (dict(memory_mib=10**400), 'memory_mib is 10{39}, expected a finite'),
        (
            {'curve': {'AP': [0.1]}, 'curve_epochs': [1, 2]},
            'curve AP has 1 values, expected 2, one for each of curve_epochs',
        ),
        (
            {'loss': [1.0, 2.0], 'loss_steps': [1]},
            'a.json: loss has 2 values, expected 1, one for each of loss_st',
        ),
        (dict(further=1), 'no result of a training: further missing or'),
    ],
)
def test_broken_results(work_dir, tmp_path, change, message):
    found = dataclasses.asdict(collect(work_dir().run(step(1)).path))
    (tmp_path / 'a.json').write_text(json.dumps(found | change))
    with pytest.raises(ValueError, match=message):
        read(tmp_path / 'a.json')


def test_files_that_are_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no result'):
        read(tmp_path / 'a.json')
    for text, message in (
        ('{"a": ', 'is no JSON'),
        ('[]', 'is no result of a training'),
    ):
        (tmp_path / 'a.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            read(tmp_path / 'a.json')


def test_metrics_of_a_test(tmp_path):
    for time, value in (('20260101_000000', 0.1), ('20260102_000000', 0.2)):
        folder = tmp_path / time
        (folder / 'vis_data').mkdir(parents=True)
        content = {'coco/bbox_mAP': value, 'time': 1.0, 'data_time': 0.1}
        (folder / f'{time}.json').write_text(json.dumps(content))
        (folder / 'vis_data' / f'{time}.json').write_text('{}')
    assert results.test_metrics(tmp_path) == {'coco/bbox_mAP': 0.2}
    (folder / f'{time}.json').write_text('{')
    with pytest.raises(ValueError, match='has no metrics'):
        results.test_metrics(tmp_path)
    with pytest.raises(FileNotFoundError, match='has no metrics of a test'):
        results.test_metrics(tmp_path / 'vis_data')
