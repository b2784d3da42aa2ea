"""Converter of PyConv on weights of the official names and shapes."""

import pytest
import torch
from mmdet.registry import MODELS

from mmdet_assigners.conversion import convert_file, load_converter
from mmdet_assigners.utils import get_config

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# kernel, groups and part of the channels of each level
PYRAMIDS = (
    ((3, 1, 4), (5, 4, 4), (7, 8, 4), (9, 16, 4)),
    ((3, 1, 4), (5, 4, 4), (7, 8, 2)),
    ((3, 1, 2), (5, 4, 2)),
    ((3, 1, 1),),
)
HG_GROUPS = ((32, 32, 32, 32), (32, 64, 64), (32, 64), (32,))


def norm(state, name, width):
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        state[f'{name}.{part}'] = torch.rand(width)
    state[f'{name}.num_batches_tracked'] = torch.tensor(0)


def official(depth, hg=False):
    """A state dict of models/pyconvresnet.py or pyconvhgresnet.py."""
    state = {'conv1.weight': torch.randn(64, 3, 7, 7)}
    norm(state, 'bn1', 64)
    inputs = 64
    for stage, blocks in enumerate(BLOCKS[depth]):
        width = 64 * 2**stage * (2 if hg else 1)
        out = 256 * 2**stage
        for j in range(blocks):
            block = f'layer{stage + 1}.{j}'
            state[f'{block}.conv1.weight'] = torch.randn(width, inputs, 1, 1)
            norm(state, f'{block}.bn1', width)
            levels = PYRAMIDS[stage]
            for i, (kernel, groups, part) in enumerate(levels):
                if hg:
                    groups = HG_GROUPS[stage][i]
                name = f'{block}.conv2'
                if len(levels) > 1:
                    name += f'.conv2_{i + 1}'
                state[f'{name}.weight'] = torch.randn(
                    width // part, width // groups, kernel, kernel
                )
            norm(state, f'{block}.bn2', width)
            state[f'{block}.conv3.weight'] = torch.randn(out, width, 1, 1)
            norm(state, f'{block}.bn3', out)
            if j == 0:
                name = f'{block}.downsample'
                state[f'{name}.1.weight'] = torch.randn(out, inputs, 1, 1)
                norm(state, f'{name}.2', out)
            inputs = out
    state['fc.weight'] = torch.randn(1000, 2048)
    state['fc.bias'] = torch.randn(1000)
    return state


@pytest.mark.parametrize('hg', [False, True])
@pytest.mark.parametrize('depth', BLOCKS)
def test_every_released_file(depth, hg):
    theirs = official(depth, hg)
    converter = load_converter('pyconv')
    ours = converter.convert(theirs)
    cfg = get_config(converter.guess_config(ours)).model.backbone
    assert cfg.depth == depth
    assert ('HG' in cfg.type) == hg
    cfg.init_cfg = None
    with torch.device('meta'):
        net = MODELS.build(cfg)
    net.load_state_dict(ours, assign=True)
    for name, value in net.state_dict().items():
        assert value is theirs[name] or value.equal(theirs[name]), name


def test_file_of_the_converter_is_for_init_cfg(tmp_path):
    """So is the official file, whose names are the same."""
    theirs = official(50)
    source, out = tmp_path / 'official.pth', tmp_path / 'out.pth'
    wrapped = {f'module.{name}': value for name, value in theirs.items()}
    torch.save(dict(state_dict=wrapped), source)
    count, config = convert_file('pyconv', source, out)
    assert count == len(theirs) - 2
    assert config == 'pyconv_retinanet_r50_fpn_1x_coco'
    torch.save(theirs, source)
    for path in (out, source):
        cfg = get_config(config).model.backbone
        cfg.init_cfg.checkpoint = str(path)
        net = MODELS.build(cfg)
        net.init_weights()
        for name, value in net.state_dict().items():
            assert torch.equal(value, theirs[name]), name


def test_config_of_another_network(tmp_path):
    source = tmp_path / 'official.pth'
    torch.save(official(50), source)
    config = 'pyconv-hg_retinanet_r50_fpn_1x_coco'
    with pytest.raises(ValueError, match=f'does not fit {config}: .* shape'):
        convert_file('pyconv', source, tmp_path / 'out.pth', config)


def test_depths_without_released_files():
    guess = load_converter('pyconv').guess_config
    for depth in (18, 34):
        config = f'pyconv_retinanet_r{depth}_fpn_1x_coco'
        cfg = get_config(config).model.backbone
        with torch.device('meta'):
            assert guess(MODELS.build(cfg).state_dict()) == config


def test_refuses_a_plain_resnet():
    with torch.device('meta'):
        plain = MODELS.build(dict(type='ResNet', depth=50)).state_dict()
    message = r'no pyramid .* but layer1\.0\.conv2\.weight: .* plain ResNet'
    with pytest.raises(ValueError, match=message):
        load_converter('pyconv').convert(plain)
