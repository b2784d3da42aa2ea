"""`table show` and `compare`."""

import csv
import dataclasses
import io
import json

import pytest
import torch

from mmdet_assigners.__main__ import main
from mmdet_assigners.analysis.detectors import build_model
from mmdet_assigners.datasets.shapes import generate_shapes
from mmdet_assigners.reproduction import comparison
from mmdet_assigners.reproduction.results import Result
from mmdet_assigners.small_scale import load_config

ATSS = 'mmdet::atss/atss_r50_fpn_1x_coco'
LADDER = 'atss-ladder_r50_fpn_1x_coco'


def result(config, value, **changes):
    fields = dict(
        config=config, data='shapes', form='mini', seed=0, unit='epoch',
        epochs=1, last_epoch=1, metrics={'coco/bbox_mAP': value},
        per_class={}, curve_epochs=[], curve={}, loss_steps=[], loss=[],
        seconds_per_iter=None, memory_mib=None, parameters=None, commands=[],
        commit=None, versions={}, hardware={}, work_dir='x',
    )  # fmt: skip
    return dataclasses.asdict(Result(**(fields | changes)))


def run(capsys, *arguments):
    """Output of a command, or its error."""
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return out.err if code else out.out


@pytest.fixture
def root(tmp_path):
    """What `table run` leaves."""
    folder = tmp_path / 'tables' / 'results'
    folder.mkdir(parents=True)
    for name, value in (('atss_r50_fpn_1x_coco', 0.3), (LADDER, 0.35)):
        text = json.dumps(result(name, value))
        (folder / f'{name}_mini_shapes_s0.json').write_text(text)
    return folder.parent


def test_a_table(capsys, root, tmp_path):
    text = run(capsys, 'table', 'show', 'atss/atss', '--root', root)
    assert text.startswith('### atss/atss: shapes, mini, coco/bbox_mAP\n')
    assert '| 35.0 (1 seed) | +5.0 |' in text
    out = tmp_path / 'new' / 'page.html'
    arguments = ['table', 'show', 'atss', '--root', root, '--out', out]
    assert run(capsys, *arguments, '--format', 'html') == f'wrote {out}\n'
    page = out.read_text()
    assert page.count('<table') == 7
    assert 'https://arxiv.org/abs/1912.02424' in page


def test_all_results_of_a_folder(capsys, root):
    text = run(capsys, 'table', 'show', root)
    assert text.startswith('### Trainings: shapes, mini, coco/bbox_mAP')
    assert '| 35.0 (1 seed) | +5.0 |' in text


def test_several_tables(capsys, root):
    text = run(
        capsys, 'table', 'show', 'atss/atss', 'gfl/beta', '--root', root
    )
    titles = [line for line in text.splitlines() if line[:3] == '###']
    assert titles == [
        '### atss/atss: shapes, mini, coco/bbox_mAP', '### gfl/beta'
    ]  # fmt: skip


def test_without_results(capsys, tmp_path):
    text = run(capsys, 'table', 'show', 'gfl/beta', '--root', tmp_path)
    assert text.count('not run') == 4
    assert '### gfl/beta\n' in text


@pytest.mark.parametrize(
    ('what', 'message'),
    [
        (['gfll'], "neither a table nor a file: no method 'gfll'; did you me"),
        (['gfl/betta'], "gfl has no table 'betta'; did you mean beta?"),
        (['gfl', 'missing.json'], "no method 'missing.json'; there are"),
        (['gfl', '{root}'], 'there is no gfl; expected result files'),
        (['{root}/broken.json'], 'broken.json is no JSON'),
        (['{root}/results'], 'has no training: expected losses'),
        (['{root}/results', '{root}/no'], 'no training in '),
        (['/ladder'], "'/ladder': expected METHOD or METHOD/TABLE"),
        (['atss/'], "'atss/': expected METHOD or METHOD/TABLE"),
        (['gfl', '--root', '{root}/missing'], "--root '{root}/missing': exp"),
        (['gfl', '--root', '{root}/broken.json'], 'expected the folder of `t'),
        (['gfl', '--root', ''], "--root '': expected the folder of `table"),
        (['gfl', '--out', ''], "--out '' is empty, expected a file"),
        (['gfl', '--out', '{root}'], "{root}' is a folder, expected a file"),
        (['gfl', '--out', '/dev/full'], '--out /dev/full: No space left on'),
        (['gfl', '--out', '/proc/a/b'], '--out /proc/a/b: No such file'),
        (
            ['gfl', '--out', '{root}/broken.json/b'],
            '--out {root}/broken.json/b: ',
        ),
        (['gfl', '--shape', '8', '8'], '--shape is that of --cost'),
        (['gfl', '--cost', '--shape', '0', '8'], 'expected positive sides'),
    ],
)
def test_wrong_arguments(capsys, root, what, message):
    (root / 'broken.json').write_text('{"config": ')
    (root / 'no').mkdir()
    what = [one.format(root=root) for one in what]
    error = run(capsys, 'table', 'show', *what)
    assert message.format(root=root) in error
    assert error.count('\n') == 1


def test_a_broken_result_is_named(capsys, root):
    (root / 'results' / 'b.json').write_text('{}')
    error = run(capsys, 'table', 'show', 'atss', '--root', root)
    assert 'results/b.json is no result of a training' in error


def test_without_the_default_root(capsys, tmp_path, monkeypatch):
    """It is that of a clone in which nothing was run."""
    monkeypatch.chdir(tmp_path)
    text = run(capsys, 'table', 'show', 'gfl/beta')
    assert text.count('not run') == 4


def test_two_results_of_one_training(capsys, root):
    first, _ = sorted(root.glob('results/*.json'))
    second = root / 'results' / 'copy.json'
    second.write_text(first.read_text())
    error = run(capsys, 'table', 'show', 'atss/atss', '--root', root)
    assert f'{first} and {second} are both {LADDER}, mini, shapes' in error
    assert error.count('\n') == 1
    # the other tables can be shown
    assert run(capsys, 'table', 'show', 'gfl/beta', '--root', root)
    # as trainings, each has a line
    text = run(capsys, 'table', 'show', root)
    assert text.count('| 35.0 (1 seed) |') == 2


def test_folders_without_a_training_are_skipped(capsys, root, folders):
    """Not the root of `table run`, and each training is shown once."""
    (root.parent / 'figures').mkdir()
    (root.parent / 'empty').mkdir()
    what = sorted([*root.parent.glob('*/'), *folders, *folders, root])
    assert main(['table', 'show', *map(str, what), '--format', 'csv']) == 0
    out = capsys.readouterr()
    paths = f'{root.parent / "empty"}, {root.parent / "figures"}'
    assert out.err == f'warning: no training in {paths}, skipped\n'
    found = list(csv.DictReader(io.StringIO(out.out)))
    assert len(found) == 4


def test_costs(capsys, root):
    path = root / 'results' / f'{LADDER}_mini_shapes_s0.json'
    arguments = ['--cost', '--shape', 64, 96, '--format', 'csv']
    text = run(capsys, 'table', 'show', path, *arguments)
    (found,) = csv.DictReader(io.StringIO(text))
    assert int(found['parameters']) == 1_098_282
    assert int(found['flops']) > 10**7
    assert float(found['inference_seconds']) > 0
    assert float(found['inference_memory_mib']) > 100


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Two detectors that were not trained, but look so."""
    root = tmp_path_factory.mktemp('compare')
    data = generate_shapes(root / 'data', num_train=2, num_val=2, num_test=1)
    found = []
    for name, config in (('a', ATSS), ('b', LADDER)):
        cfg = load_config(config, True, str(data))
        cfg.randomness = dict(seed=0)
        folder = root / 'runs' / name
        dump = folder / '20260101_000000' / 'vis_data'
        dump.mkdir(parents=True)
        (dump / 'config.py').write_text(cfg.pretty_text)
        entries = [
            dict(loss=1.0, time=1.0, epoch=1, iter=1, step=1),
            {'coco/bbox_mAP': 0.25, 'step': 1},
        ]
        lines = '\n'.join(map(json.dumps, entries))
        (dump / 'scalars.json').write_text(lines)
        model = build_model(cfg)
        meta = dict(
            epoch=1, experiment_name=f'{name}_20260101_000000',
            dataset_meta=dict(classes=('circle', 'triangle')),
        )  # fmt: skip
        state = dict(state_dict=model.state_dict(), meta=meta)
        torch.save(state, folder / 'epoch_1.pth')
        found.append(folder)
    return found


def test_compare(capsys, folders, tmp_path):
    out = tmp_path / 'page.html'
    text = run(capsys, 'compare', *folders, '--images', 1, '--out', out)
    assert '| a |' in text
    assert text.endswith(f'wrote {out}\n')
    page = out.read_text()
    assert page.count('src="data:image/png;base64,') == 1
    assert '<td class="text">model.bbox_head.type</td>' in page
    assert '<td class="text">&#x27;ATSSLadderHead&#x27;</td>' in page
    assert 'work_dir' not in page
    assert page.count('coco/bbox_mAP over epoch') == 3


def test_compare_replaces_a_page_if_told_so(
    capsys, folders, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    # one folder twice is one training
    text = run(capsys, 'compare', *folders, f'{folders[0]}/.')
    labels = [row[2] for row in text.splitlines() if row[:3] in ('| a', '| b')]
    assert labels == ['a', 'b']
    assert text.endswith('wrote compare.html\n')
    error = run(capsys, 'compare', folders[0])
    assert 'compare.html exists: expected another name with --out' in error
    text = run(capsys, 'compare', folders[0], '--out', 'compare.html')
    assert text.endswith('wrote compare.html\n')


def test_compare_refuses(capsys, folders, tmp_path):
    error = run(capsys, 'compare', folders[0], tmp_path, '--out', 'x')
    assert 'has no training' in error
    assert 'expected 0 or more' in run(capsys, 'compare', 'x', '--images', -1)
    out = '--out', tmp_path / 'page.html'
    error = run(capsys, 'compare', tmp_path / 'missing', *out)
    assert 'there is no work folder' in error
    error = run(capsys, 'compare', folders[0], '--out', '/dev/full')
    assert error.startswith('mmdet-assigners: --out /dev/full: No space left')
    error = run(capsys, 'compare', folders[0], '--out', '')
    assert "--out '' is empty" in error


def test_differences_of_configs():
    found = comparison.config_differences(
        {
            'a': dict(model=dict(type='X', depth=1), work_dir='a', free=1),
            'b': dict(model=dict(type='X'), work_dir='b', free=2),
        }
    )
    assert found == {'model.depth': {'a': '1', 'b': '-'}}


def test_errors_need_tide(capsys, folders):
    """Or find them: one object is missed, one is of another class."""
    try:
        import tidecv  # noqa: F401
    except ImportError:
        error = run(capsys, 'compare', folders[0], '--errors')
        assert "pip install 'mmdet_assigners[tide]'" in error
        return
    boxes = [
        [0.0, 0.0, 10.0, 10.0],
        [50.0, 50.0, 80.0, 80.0],
        [20.0, 0.0, 40.0, 10.0],
    ]
    info = dict(
        instances=[
            dict(bbox=box, bbox_label=label, ignore_flag=0)
            for box, label in zip(boxes, (0, 1, 1), strict=True)
        ]
    )
    from mmengine.structures import InstanceData

    found = InstanceData(
        bboxes=torch.tensor(boxes[:2]),
        labels=torch.tensor([1, 1]),
        scores=torch.tensor([0.9, 0.8]),
    )
    errors = comparison.tide_errors([info], [found])
    assert 0 < errors['AP50'] < 50
    assert errors['Cls'] > 0 and errors['Miss'] > 0
    assert errors['Loc'] == errors['Bkg'] == 0
