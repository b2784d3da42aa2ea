import json

import pytest

from mmdet_assigners import experiments
from mmdet_assigners.__main__ import main
from mmdet_assigners.datasets.shapes import SHAPES_CLASSES, generate_shapes

RESULT = dict(
    bbox_mAP=0.25, bbox_mAP_50=0.5, bbox_mAP_75=0.2, curve=[0.1, 0.25],
    seconds_per_iter=0.2, parameters=1_100_000, data='x', epochs=2,
)  # fmt: skip


def test_names_and_arguments():
    run = experiments.Run('mmdet::a/b.py', 'x/coco128', 20, 1, 'train')
    assert run.name == 'b_coco128_20e_s1'
    assert run.arguments() == [
        'train', 'mmdet::a/b.py', '--mini', '--data', 'x/coco128',
        '--epochs', '20', '--seed', '1', '--eval-on', 'train',
    ]  # fmt: skip


def test_finished_run_is_read_and_another_is_refused(tmp_path):
    run = experiments.Run('a', 'b', 1)
    result = dict(command='mmdet-assigners ' + ' '.join(run.arguments()))
    (tmp_path / 'result.json').write_text(json.dumps(result))
    assert experiments.execute(run, tmp_path) == result
    with pytest.raises(RuntimeError, match='the result of another run'):
        experiments.execute(experiments.Run('a', 'b', 2), tmp_path)


def test_failed_training_names_its_log(tmp_path):
    run = experiments.Run('no_such_config', str(tmp_path), 1)
    with pytest.raises(RuntimeError, match=r'no_such_config.*train\.log'):
        experiments.execute(run, tmp_path / 'run')


def test_run_of_the_protocol(tmp_path, monkeypatch):
    """Also more epochs than the protocol's, with fewer evaluations."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    data = generate_shapes(
        tmp_path / 'data', num_train=4, num_val=1, num_test=1
    )
    cache = tmp_path / 'cache'
    run = experiments.Run(
        'atss-ladder_r50_fpn_1x_coco', str(data), 12, seed=3,
        options=(f'model.backbone.cache_dir={cache}',), form='small',
    )  # fmt: skip
    result = experiments.execute(run, tmp_path / 'run', quiet=True)
    assert result['curve_epochs'] == [6, 8, 10, 12]
    assert len(result['curve']) == 4
    assert result['epochs'] == 12
    assert set(result['per_class']) <= set(SHAPES_CLASSES)
    # each training image as it is or mirrored, and the one of validation
    assert 5 <= len(list(cache.iterdir())) <= 9


def test_table():
    lines = experiments.result_table({'ours': RESULT}).splitlines()
    assert lines[2] == (
        '| ours | 0.250 | 0.500 | 0.200 | 0.200 | 1.10 M | 2 |'
    )


def test_demo(tmp_path, capsys, monkeypatch):
    """Everything of `make demo`, on a handful of images.

    An epoch of two steps teaches nothing, so it must say so; and a second
    call must not train again.
    """
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    data = generate_shapes(
        tmp_path / 'data', num_train=8, num_val=4, num_test=2
    )
    out = tmp_path / 'demo'
    arguments = ['demo', '--data', str(data), '--epochs', '1']
    arguments += ['--work-dir', str(out)]
    with pytest.raises(SystemExit, match='1'):
        main(arguments)
    assert 'has learned nothing' in capsys.readouterr().err
    for name in ('curves', 'detections', 'assignment'):
        assert (out / f'{name}.png').stat().st_size > 5000
    assert 'dr-loss_retinanet' in (out / 'table.md').read_text()
    before = {p: p.stat().st_mtime for p in out.glob('*/epoch_1.pth')}
    assert len(before) == 2
    results = out / 'results.json'
    content = json.loads(results.read_text())
    for run in out.glob('*/result.json'):  # as if they had learned
        text = run.read_text()
        start = text.index('"bbox_mAP_50": ') + len('"bbox_mAP_50": ')
        run.write_text(text[:start] + '0.9' + text[text.index(',', start) :])
    assert main(arguments) == 0
    assert 'was done already' in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime for p in out.glob('*/epoch_1.pth')}
    assert content.keys() == json.loads(results.read_text()).keys()
