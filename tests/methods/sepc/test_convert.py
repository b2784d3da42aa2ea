"""The converter on random weights with the official names and shapes."""

import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mmdet_assigners import get_config

FOLDER = Path(__file__).parent.parent / 'tools' / 'convert'
ROWS = {  # pconv_deform, lcconv_deform, ibn
    'pconv': (False, False, False),
    'pconv-ibn': (False, False, True),
    'sepc-lite': (False, True, True),
    'sepc': (True, True, True),
}


@pytest.fixture(scope='module')
def sepc():
    sys.path.insert(0, str(FOLDER))
    try:
        import sepc

        yield sepc
    finally:
        sys.path.remove(str(FOLDER))
        for name in ('sepc', 'common'):
            sys.modules.pop(name, None)


def build(config):
    with torch.device('meta'):
        return MODELS.build(get_config(config).model)


@pytest.fixture(scope='module')
def body():
    """Backbone and FPN, which have the same names in mmdet 1.1 and 3.3."""
    init_default_scope('mmdet')
    state = build('sepc_retinanet_r50_fpn_1x_coco').state_dict()
    return {
        name: torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in state.items()
        if name.startswith(('backbone.', 'neck.0.'))
    }


def official(body, row, anchors):
    """A state dict as the official code writes it, spelled out by hand."""
    pconv_deform, lcconv_deform, ibn = ROWS[row]
    kernels = {
        f'Pconvs.{i}.Pconv.{j}': pconv_deform
        for i in range(4)
        for j in range(3)
    } | {'lconv': lcconv_deform, 'cconv': lcconv_deform}
    norms = [*(f'Pconvs.{i}.bn' for i in range(4)), 'lbn', 'cbn']
    state = dict(body)
    for name, deform in kernels.items():
        state[f'neck.1.{name}.weight'] = torch.randn(256, 256, 3, 3)
        state[f'neck.1.{name}.bias'] = torch.randn(256)
        if deform:
            offset = f'neck.1.{name}.conv_offset'
            state[f'{offset}.weight'] = torch.randn(18, 256, 3, 3)
            state[f'{offset}.bias'] = torch.randn(18)
    for name in norms if ibn else ():
        bn = nn.BatchNorm2d(256).state_dict()
        state |= {f'neck.1.{name}.{key}': value for key, value in bn.items()}
    for name, channels in (('cls', 80 * anchors), ('reg', 4 * anchors)):
        state[f'bbox_head.retina_{name}.weight'] = torch.randn(
            channels, 256, 3, 3
        )
        state[f'bbox_head.retina_{name}.bias'] = torch.randn(channels)
    return state


def run(sepc, *args):
    return sepc.main('', sepc.convert, sepc.guess_config, list(args))


@pytest.mark.parametrize('row', ROWS)
@pytest.mark.parametrize('head', ['retinanet', 'fsaf'])
def test_loads_strictly(sepc, body, row, head):
    theirs = official(body, row, 1 if head == 'fsaf' else 9)
    state = sepc.convert(theirs)
    config = f'{row}_{head}_r50_fpn_1x_coco'
    assert sepc.guess_config(state) == config
    model = build(config)
    model.load_state_dict(state, strict=True, assign=True)
    ours = model.state_dict()
    pairs = {
        'neck.1.pconvs.3.finer.weight': 'neck.1.Pconvs.3.Pconv.2.weight',
        'neck.1.pconvs.2.same.weight': 'neck.1.Pconvs.2.Pconv.1.weight',
        'neck.1.pconvs.0.coarser.bias': 'neck.1.Pconvs.0.Pconv.0.bias',
        'neck.1.cls_conv.weight': 'neck.1.cconv.weight',
        'neck.1.reg_conv.bias': 'neck.1.lconv.bias',
        'bbox_head.retina_cls.bias': 'bbox_head.retina_cls.bias',
    }
    for our, their in pairs.items():
        assert torch.equal(ours[our], theirs[their]), our
    bias = theirs['bbox_head.retina_reg.bias']
    if head == 'fsaf':  # bottom, top, left, right -> top, bottom, ...
        bias = torch.stack([bias[1], bias[0], bias[2], bias[3]])
    assert torch.equal(ours['bbox_head.retina_reg.bias'], bias)


def test_file(sepc, body, tmp_path):
    state = official(body, 'sepc', 9)
    torch.save(
        dict(state_dict=state, meta=dict(CLASSES=('a', 'b'))),
        tmp_path / 'in.pth',
    )
    out = tmp_path / 'out.pth'
    assert run(sepc, str(tmp_path / 'in.pth'), str(out)) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in.pth', 'out.pth']
    content = torch.load(out)
    config = 'sepc_retinanet_r50_fpn_1x_coco'
    assert content['meta'] == dict(
        converted_from='in.pth',
        config=config,
        dataset_meta=dict(classes=('a', 'b')),
    )
    model = build(config)
    model.load_state_dict(content['state_dict'], strict=True, assign=True)


@pytest.mark.parametrize('head', ['retinanet', 'fsaf', 'freeanchor'])
def test_fits_the_released_configs(sepc, body, head):
    from common import check_state

    state = sepc.convert(official(body, 'sepc', 1 if head == 'fsaf' else 9))
    check_state(state, f'sepc-released_{head}_r50_fpn_1x_coco')


def damaged(state, damage):
    if damage == 'missing':
        del state['neck.1.cconv.bias']
    elif damage == 'unknown':
        state['neck.1.gconv.weight'] = torch.zeros(1)
    elif damage == 'shape':
        state['neck.1.lconv.weight'] = torch.zeros(256, 256, 1, 1)
    return state


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        ('missing', '1 missing: neck.1.cls_conv.bias'),
        ('unknown', '1 keys are unknown: neck.1.gconv.weight'),
        (
            'shape',
            '1 of another shape: neck.1.reg_conv.weight (256, 256, 1, 1), '
            'not (256, 256, 3, 3)',
        ),
    ],
)
def test_refuses(sepc, body, tmp_path, capsys, damage, message):
    state = damaged(official(body, 'sepc', 9), damage)
    torch.save(dict(state_dict=state), tmp_path / 'in.pth')
    out = tmp_path / 'out.pth'
    assert run(sepc, str(tmp_path / 'in.pth'), str(out)) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_refuses_what_is_no_checkpoint(sepc, tmp_path, capsys):
    bad = tmp_path / 'bad.pth'
    bad.write_text('no')
    assert run(sepc, str(bad), str(tmp_path / 'out.pth')) == 1
    assert 'bad.pth cannot be read' in capsys.readouterr().err
    torch.save(dict(model=3), bad)
    assert run(sepc, str(bad), str(tmp_path / 'out.pth')) == 1
    assert 'expected a state dict of tensors' in capsys.readouterr().err
    assert run(sepc, str(tmp_path / 'none'), str(tmp_path / 'out.pth')) == 1
    assert 'there is no checkpoint' in capsys.readouterr().err


def test_config_of_another_row(sepc, body, tmp_path, capsys):
    torch.save(official(body, 'sepc', 9), tmp_path / 'in.pth')
    files = (str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth'))
    args = ('--config', 'pconv_retinanet_r50_fpn_1x_coco')
    assert run(sepc, *files, *args) == 1
    error = capsys.readouterr().err
    assert '58 not of this model' in error and 'and 53 more' in error


def test_write_is_atomic(sepc, tmp_path, monkeypatch):
    from common import save

    out = tmp_path / 'out.pth'
    save({'a': torch.ones(1)}, out, {})

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        save({'a': torch.zeros(1)}, out, {})
    assert torch.load(out)['state_dict']['a'] == 1
    assert [path.name for path in tmp_path.iterdir()] == ['out.pth']
