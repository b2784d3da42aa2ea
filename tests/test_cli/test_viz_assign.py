import cv2
import pytest
import torch

from mmdet_assigners.__main__ import main
from mmdet_assigners.analysis.detectors import build_model

FCOS = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
FSAF = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco'


@pytest.fixture
def assign(tmp_path):
    """Function: runs `viz assign`, gives exit code and image path."""

    def run(*args, out='out.png'):
        path = tmp_path / out
        args = [str(arg) for arg in args]
        return main(['viz', 'assign', *args, '--out', str(path)]), path

    return run


@pytest.fixture
def refused(assign, capsys):
    """Function: `viz assign` that must fail; gives its message."""

    def run(*args, **kwargs):
        with pytest.raises(SystemExit) as error:
            assign(*args, **kwargs)
        assert error.value.code == 1
        return capsys.readouterr().err

    return run


def test_annotation_file(assign, coco, capsys):
    ann_file, folder = coco.ann_file, coco.img_dir
    code, out = assign(
        '--mini',
        FCOS,
        FSAF,
        '--ann',
        ann_file,
        '--img',
        folder / 'one.png',
    )
    assert code == 0
    assert cv2.imread(str(out)) is not None
    text, errors = capsys.readouterr()
    assert 'fsaf_r50_fpn_1x_coco assigns by its predictions' in errors
    assert 'fcos_r50' not in errors
    lines = text.splitlines()
    assert lines[-3].startswith('fcos_r50-caffe_fpn_gn-head_1x_coco: ')
    assert lines[-3].endswith(' on 2 of 2 objects')
    assert lines[-2].startswith('fsaf_r50_fpn_1x_coco: ')
    assert lines[-1] == f'wrote {out}'


def test_data_root_and_checkpoint(assign, coco, config, tmp_path, capsys):
    root = coco.img_dir.parent
    weights = tmp_path / 'fsaf.pth'
    torch.save(build_model(config('fsaf')).state_dict(), weights)
    code, out = assign(
        '--mini',
        FSAF,
        '--data',
        root,
        '--index',
        0,
        '--checkpoint',
        weights,
    )
    assert code == 0
    assert out.is_file()
    assert 'not trained' not in capsys.readouterr().err


@pytest.fixture
def own_config(coco, tmp_path):
    """A config of a user that names its data and two of three classes."""
    node = dict(
        ann_file=str(coco.ann_file),
        data_prefix=dict(img=str(coco.img_dir)),
        metainfo=dict(classes=coco.classes[:2]),
    )
    path = tmp_path / 'own.py'
    path.write_text(
        f"_base_ = '{FCOS}'\n"
        'model = dict(bbox_head=dict(num_classes=2))\n'
        f'val_dataloader = dict(dataset={node!r})\n'
    )
    return path


def test_data_of_the_users_config(assign, refused, own_config, coco, capsys):
    code, out = assign('--mini', own_config)
    assert code == 0 and out.is_file()
    text, errors = capsys.readouterr()
    assert f'data of {own_config}: {coco.ann_file}' in errors
    assert text.splitlines()[0].endswith('objects')
    message = refused('--mini', own_config, '--split', 'train')
    assert 'there is no annotation file data/coco/' in message
    assert message.endswith('or name other data: --data NAME|ROOT\n')


def test_image_without_objects(assign, coco, capsys):
    code, out = assign(
        '--mini',
        FCOS,
        '--data',
        coco.img_dir.parent,
        '--index',
        1,
    )
    assert code == 0
    assert out.is_file()
    assert '0 positives on 0 of 0 objects' in capsys.readouterr().out


def test_several_images_and_page(assign, coco, tmp_path, capsys):
    page = tmp_path / 'page.html'
    root = coco.img_dir.parent
    options = ['--mini', FCOS, FSAF, '--data', root]
    code, out = assign(*options, '--index', 0, 1, '--html', page)
    assert code == 0
    names = [f'out_{i}.png' for i in (0, 1)]
    assert all(cv2.imread(str(out.with_name(n))) is not None for n in names)
    assert not out.exists()
    assert page.read_text().count('<img ') == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'one.png:' and lines[3] == 'two.png:'
    assert lines[-1] == f'wrote {page}'


def test_page_alone(coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ['--mini', FCOS, '--data', str(coco.img_dir.parent)]
    assert main(['viz', 'assign', *args, '--html', 'page.html']) == 0
    assert not list(tmp_path.glob('*.png'))
    with pytest.raises(SystemExit):
        main(['viz', 'assign', *args, '--html', 'page.txt'])


def test_config_options(assign, coco, capsys):
    root = coco.img_dir.parent
    counts = []
    for radius in (0.5, 1.5):
        assign(
            '--mini',
            FCOS,
            '--data',
            root,
            '--cfg-options',
            'model.bbox_head.center_sampling=True',
            f'model.bbox_head.center_sample_radius={radius}',
        )
        line = capsys.readouterr().out.splitlines()[-2]
        counts.append(int(line.split(': ')[1].split()[0]))
    assert 0 < counts[0] < counts[1]


@pytest.mark.parametrize(
    'args, message',
    [
        (
            ['mmdet::fcos/fcos_r50_fpn'],
            'or fcos/fcos_r50-caffe_fpn',
        ),
        ([FCOS, '--img', 'a.png'], 'add --ann FILE or --data'),
        ([FCOS, '--ann', 'a.json'], '--ann needs --img'),
        (
            [FCOS, '--img', 'a', '--ann', 'b', '--data', 'bccd'],
            'exclude each other',
        ),
        (
            [FCOS, FSAF, '--checkpoint', 'a.pth'],
            '1 checkpoints for 2 configs',
        ),
        ([FCOS, '--data', 'no/such'], 'is not a folder'),
        (
            [FCOS, '--img', 'no.png', '--ann', 'no.json'],
            'there is no annotation file no.json',
        ),
    ],
)
def test_wrong_arguments(refused, args, message):
    assert message in refused(*args)


def test_wrong_out(refused):
    assert 'ending in .png' in refused(FCOS, out='a.pdf')


def test_damaged_image(refused, coco):
    ann_file, folder = coco.ann_file, coco.img_dir
    (folder / 'one.png').write_bytes(b'no image')
    message = refused(
        '--mini',
        FCOS,
        '--ann',
        ann_file,
        '--img',
        folder / 'one.png',
    )
    assert 'one.png cannot be read as an image' in message


def test_head_without_adapter(refused, coco):
    message = refused(
        '--mini',
        'mmdet::ddod/ddod_r50_fpn_1x_coco',
        '--data',
        coco.img_dir.parent,
    )
    assert 'cannot read the assignment of DDODHead' in message


@pytest.mark.parametrize(
    ('name', 'maps'),
    [
        ('cornernet_r18-dcnv2_crop512-140e_coco', 2),
        ('extremenet_r18-dcnv2_crop512-140e_coco', 5),
        ('centernet_r18-dcnv2_crop512-140e_coco', 1),
    ],
)
def test_heat_maps(assign, coco, capsys, name, maps):
    """One PNG for the config; CenterNet has an assignment of cells too."""
    code, out = assign(
        '--mini', name, '--ann', coco.ann_file, '--img',
        coco.img_dir / 'one.png',
    )  # fmt: skip
    assert code == 0
    path = out.with_stem(f'{out.stem}-{name}-heatmaps')
    assert cv2.imread(str(path)) is not None
    assert out.is_file() == (maps == 1)
    assert f'wrote {path}' in capsys.readouterr().out
