"""The converter on random weights with the official names and shapes."""

import re

import pytest
import torch
from official_boxes import (
    STRIDES,
    assert_same,
    cells,
    class_maps,
    deltas,
    detectron_decode,
    maps,
    mmdet_v1_anchor,
    official_file,
    result_file,
    write_inclusive,
)
from official_weights import build
from torch import nn

from mmdet_assigners.__main__ import main
from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.sepc.convert import convert, guess_config

ROWS = {  # pconv_deform, lcconv_deform, ibn
    'pconv': (False, False, False),
    'pconv-ibn': (False, False, True),
    'sepc-lite': (False, True, True),
    'sepc': (True, True, True),
}


@pytest.fixture(scope='module')
def body():
    """Backbone and FPN, which have the same names in mmdet 1.1 and 3.3."""
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


@pytest.mark.parametrize('row', ROWS)
@pytest.mark.parametrize('head', ['retinanet', 'fsaf'])
def test_loads_strictly(body, row, head):
    theirs = official(body, row, 1 if head == 'fsaf' else 9)
    state = convert(theirs)
    config = f'{row}-released_{head}_r50_fpn_1x_coco'
    assert guess_config(state) == config
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


def test_file(body, tmp_path):
    state = official(body, 'sepc', 9)
    torch.save(
        dict(state_dict=state, meta=dict(CLASSES=('a', 'b'))),
        tmp_path / 'in.pth',
    )
    out = tmp_path / 'out.pth'
    convert_file('sepc', tmp_path / 'in.pth', out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in.pth', 'out.pth']
    content = torch.load(out)
    config = 'sepc-released_retinanet_r50_fpn_1x_coco'
    assert content['meta'] == dict(
        converted_from='in.pth',
        config=config,
        dataset_meta=dict(classes=('a', 'b')),
    )
    model = build(config)
    model.load_state_dict(content['state_dict'], strict=True, assign=True)


def test_freeanchor(body, tmp_path, capsys):
    """Its tensors are those of RetinaNet, so the command names both."""
    torch.save(official(body, 'pconv', 9), tmp_path / 'in.pth')
    files = [str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')]
    config = 'pconv-released_freeanchor_r50_fpn_1x_coco'
    assert main(['convert', 'sepc', *files]) == 0
    printed = capsys.readouterr().out
    assert 'config: pconv-released_retinanet_r50_fpn_1x_coco' in printed
    assert f'remove it and pass --config {config}' in printed
    (tmp_path / 'out.pth').unlink()
    assert main(['convert', 'sepc', *files, '--config', config]) == 0
    assert capsys.readouterr().out.strip().endswith(f'config: {config}')
    assert torch.load(files[1])['meta']['config'] == config
    files[1] = str(tmp_path / 'other.pth')
    with pytest.raises(SystemExit):
        main(
            [
                'convert',
                'sepc',
                *files,
                '--config',
                config.replace('-released', ''),
            ]
        )
    assert (
        'use pconv-released_retinanet_r50_fpn_1x_coco or '
        'pconv-released_freeanchor_r50_fpn_1x_coco, or a config that'
    ) in capsys.readouterr().err


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
def test_refuses(body, tmp_path, damage, message):
    state = damaged(official(body, 'sepc', 9), damage)
    torch.save(dict(state_dict=state), tmp_path / 'in.pth')
    out = tmp_path / 'out.pth'
    with pytest.raises(ValueError, match=re.escape(message)):
        convert_file('sepc', tmp_path / 'in.pth', out)
    assert not out.exists()


def test_config_of_another_row(body, tmp_path):
    torch.save(official(body, 'sepc', 9), tmp_path / 'in.pth')
    config = 'pconv-released_retinanet_r50_fpn_1x_coco'
    files = (tmp_path / 'in.pth', tmp_path / 'out.pth')
    with pytest.raises(ValueError, match=r'58 not of this model.*and 53 more'):
        convert_file('sepc', *files, config)


# its maps lack the last row and column on each side
UNPADDED = dict(strides=STRIDES[:4], margin=2)


def with_empty_top(levels):
    """Without padding the coarsest level of so small an image is empty."""
    return [*levels, levels[0].new_zeros(1, levels[0].shape[1], 0, 1)]


@pytest.mark.parametrize('row', ROWS)
@pytest.mark.parametrize('head', ['retinanet', 'freeanchor'])
def test_boxes_of_the_official_result_file(row, head):
    std = (1.0,) * 4 if head == 'retinanet' else (10.0, 10.0, 5.0, 5.0)
    places = cells(9, **UNPADDED)
    places, values, theirs = official_file(
        places,
        deltas(places, tuple(0.5 * unit for unit in std)),
        lambda place, delta: detectron_decode(
            mmdet_v1_anchor(*place), delta, std
        ),
        write_inclusive,
    )
    options = dict(anchors=9, **UNPADDED)
    ours = result_file(
        f'{row}-released_{head}_r50_fpn_1x_coco',
        with_empty_top(class_maps(places, **options)),
        with_empty_top(maps(places, values, **options)),
    )
    assert_same(ours, theirs)


def fsaf_box(place, tblr):
    """Distances in strides from the center of an inclusive anchor."""
    level, y, x, _ = place
    stride = STRIDES[level]
    # anchors are [0, s - 1]
    x, y = (at * stride + (0 + stride - 1 + 1) / 2 for at in (x, y))
    top, bottom, left, right = (float(side) * stride for side in tblr)
    return x - left, y - top, x + right - 1, y + bottom - 1


@pytest.mark.parametrize('row', ROWS)
def test_boxes_of_fsaf(row):
    """The converter has put the official b, t, l, r in our order."""
    places = cells(**UNPADDED)
    places, values, theirs = official_file(
        places, deltas(places, (4.0,) * 4).abs(), fsaf_box, write_inclusive
    )
    ours = result_file(
        f'{row}-released_fsaf_r50_fpn_1x_coco',
        with_empty_top(class_maps(places, **UNPADDED)),
        with_empty_top(maps(places, values, **UNPADDED)),
    )
    assert_same(ours, theirs)
