import json

import pytest
import small_scale
import small_scale_runs as runs

A, B = 'sapd_r50_fpn_1x_coco', 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'


def result_of(run, value):
    return dict(
        config=run.config, data=run.data, epochs=6, seed=run.seed,
        eval_on='val', bbox_mAP=value, parameters=5, command='train',
    )  # fmt: skip


def names(missing):
    return [(run.config, run.seed, rate) for run, rate in missing]


def test_tuning_comes_first_then_seeds_with_the_best_rate(tmp_path):
    tuning = [(c, runs.TUNING_SEED, r) for c in (A, B) for r in runs.RATES]
    assert names(runs.missing_runs([A, B], 'bccd', tmp_path)) == tuning
    scores = dict(zip(runs.RATES, (0.3, 0.5, 0.5), strict=True))
    for run, rate in list(runs.missing_runs([A], 'bccd', tmp_path)):
        assert runs.best_rate(runs.read_runs(A, 'bccd', tmp_path)) is None
        runs.add_run(run, rate, result_of(run, scores[rate]), tmp_path)
    best = runs.RATES[1]  # a tie goes to the first
    assert runs.best_rate(runs.read_runs(A, 'bccd', tmp_path)) == best
    expected = [(A, seed, best) for seed in runs.SEEDS]
    assert names(runs.missing_runs([A], 'bccd', tmp_path)) == expected
    assert names(runs.missing_runs([A], 'shapes', tmp_path)) == [
        (A, runs.TUNING_SEED, rate) for rate in runs.RATES
    ]


def test_runs_of_one_config_share_a_file(tmp_path):
    for run, rate in list(runs.missing_runs([B], 'bccd', tmp_path)):
        runs.add_run(run, rate, result_of(run, 0.25), tmp_path)
    path = tmp_path / 'docs/results/small/bccd/fsaf_r50_fpn_1x_coco.json'
    content = json.loads(path.read_text())
    assert content['config'] == B
    assert [run['rate'] for run in content['runs']] == list(runs.RATES)
    assert content['runs'][0] == dict(
        rate=runs.RATES[0], seed=runs.TUNING_SEED, epochs=6, bbox_mAP=0.25,
        command='train',
    )  # fmt: skip


def test_arguments_of_a_run():
    tuning = runs.make_run(A, 'bccd', runs.TUNING_SEED, 0.002)
    assert tuning.arguments() == [
        'train', A, '--small', '--data', 'bccd', '--seed', '100',
        '--cfg-options', 'optim_wrapper.optimizer.lr=0.002',
        'train_cfg.val_interval=1000',
    ]  # fmt: skip
    seeded = runs.make_run(A, 'bccd', 0, 0.002)
    assert seeded.arguments()[-1] == 'optim_wrapper.optimizer.lr=0.002'


@pytest.mark.parametrize(
    ('config', 'epochs'),
    [(A, 9), (B, 9), ('pyconv_retinanet_r50_fpn_1x_coco', 18)],
)
def test_seeds_on_shapes_are_trained_longer(config, epochs):
    """Also where the config asks for its own schedule."""
    assert runs.make_run(config, 'shapes', 0, 0.002).epochs == epochs
    assert runs.make_run(config, 'bccd', 0, 0.002).epochs is None
    tuning = runs.make_run(config, 'shapes', runs.TUNING_SEED, 0.002)
    assert tuning.epochs is None


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder for results, where the queue also works."""
    for name in ('read_runs', 'add_run', 'result_file', 'missing_runs'):
        function = getattr(runs, name)
        defaults = (*(function.__defaults__ or ())[:-1], tmp_path)
        monkeypatch.setattr(function, '__defaults__', defaults)
    monkeypatch.setattr(small_scale, 'WORK_DIR', tmp_path / 'work')
    monkeypatch.setattr(small_scale.small_scale_report, 'main', lambda: 0)
    return tmp_path


@pytest.mark.parametrize('jobs', [1, 3])
def test_queue_runs_everything_once(root, monkeypatch, jobs):
    started = []

    def execute(run, folder, quiet):
        folder.mkdir(parents=True)
        started.append(folder.name)
        return result_of(run, 0.5)

    monkeypatch.setattr(small_scale, 'execute', execute)
    arguments = ['--jobs', str(jobs), '--only', 'sapd_r50', '--data', 'bccd']
    assert small_scale.main(arguments) == 0
    assert len(started) == len(set(started)) == 8
    assert not any((root / 'work').iterdir())
    assert small_scale.main(arguments) == 0  # nothing left
    assert len(started) == 8


def test_first_seeds_now_and_the_others_later(root, monkeypatch):
    def execute(run, folder, quiet):
        folder.mkdir(parents=True)
        return result_of(run, 0.5)

    def seeds():
        found = runs.read_runs('sapd_r50_fpn_1x_coco', 'bccd')
        return [r['seed'] for r in found if r['seed'] != runs.TUNING_SEED]

    monkeypatch.setattr(small_scale, 'execute', execute)
    arguments = ['--jobs', '1', '--only', 'sapd_r50', '--data', 'bccd']
    small_scale.main([*arguments, '--seeds', '0', '--rates', '0.002'])
    (first,) = runs.read_runs('sapd_r50_fpn_1x_coco', 'bccd')
    assert first['rate'] == 0.002 and not seeds()
    small_scale.main([*arguments, '--seeds', '0'])
    assert len(runs.read_runs('sapd_r50_fpn_1x_coco', 'bccd')) == 3
    assert not seeds()
    small_scale.main([*arguments, '--seeds', '2'])
    assert seeds() == [0, 1]
    small_scale.main(arguments)
    assert seeds() == list(runs.SEEDS)


def test_queue_keeps_to_the_data_of_a_row(root, monkeypatch):
    """Masks are not in BCCD, nor is their baseline trained there."""
    started = []

    def execute(run, folder, quiet):
        folder.mkdir(parents=True)
        started.append((run.config.rpartition('/')[2], run.data))
        return result_of(run, 0.5)

    monkeypatch.setattr(small_scale, 'execute', execute)
    small_scale.main(
        ['--jobs', '1', '--only', 'mask-re', 'mask-rcnn', 'ap-loss']
    )
    assert set(started) == {
        ('mask-refining-rcnn_r50_fpn_1x_coco', 'shapes'),
        ('mask-rcnn_r50_fpn_1x_coco.py', 'shapes'),
        ('ap-loss_retinanet_r50_fpn_1x_coco', 'bccd'),
        ('ap-loss_retinanet_r50_fpn_1x_coco', 'shapes'),
    }


def test_queue_goes_on_after_a_failure(root, monkeypatch, capsys):
    def execute(run, folder, quiet):
        if run.options[0].endswith(f'{runs.RATES[0]:g}'):
            raise RuntimeError('the training failed')
        folder.mkdir(parents=True)
        return result_of(run, 0.5)

    monkeypatch.setattr(small_scale, 'execute', execute)
    arguments = ['--jobs', '1', '--only', 'sapd_r50', '--data', 'bccd']
    assert small_scale.main(arguments) == 1
    assert 'the training failed' in capsys.readouterr().err
    finished = runs.read_runs('sapd_r50_fpn_1x_coco', 'bccd')
    assert [run['rate'] for run in finished] == list(runs.RATES[1:])


def test_unknown_config():
    with pytest.raises(SystemExit, match='no config'):
        small_scale.main(['--only', 'no_such_config'])
