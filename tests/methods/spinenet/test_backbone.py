"""SpineNet: census, levels, structure, stochastic depth, bad input."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners import get_config
from mmdet_assigners.methods.spinenet.backbone import SpineNet
from mmdet_assigners.methods.spinenet.blocks import SpineBlock

TINY = dict(width=1 / 16, out_channels=8, stem_channels=8)
SWISH = dict(type='SiLU')
# arch, size: parameters and multiply-adds of the convolutions, of the backbone
BACKBONES = {
    ('49S', 640): (9_089_215, 12_325_257_975),
    ('49', 640): (21_831_488, 28_261_990_400),
    ('49', 896): (21_831_488, 55_393_501_184),
    ('96', 1024): (36_262_976, 119_054_270_464),
    ('143', 1280): (60_247_616, 295_259_340_800),
    ('190', 1280): (126_587_664, 620_983_084_800),
}
# and of RetinaNet with 80 classes, and with 91 and the official biases
DETECTORS = {
    'spinenet_retinanet_49s_640-350e_coco': (
        (11_150_771, 29_806_281_975),
        (11_265_942, 30_778_541_175),
    ),
    'spinenet_retinanet_49_640-350e_coco': (
        (28_313_140, 83_337_036_800),
        (28_543_383, 85_281_555_200),
    ),
    'spinenet_retinanet_49_896-350e_coco': (
        (28_313_140, 163_340_592_128),
        (28_543_383, 167_151_848_192),
    ),
    'spinenet_retinanet_96_1024-350e_coco': (
        (42_744_628, 260_046_389_248),
        (42_974_871, 265_024_356_352),
    ),
    'spinenet_retinanet_143_1280-350e_coco': (
        (66_729_268, 515_559_526_400),
        (66_959_511, 523_337_600_000),
    ),
    'spinenet-c_retinanet_190_1280-400e_coco': (
        (163_173_892, 1_866_103_392_000),
        (163_637_351, 1_881_659_539_200),
    ),
}
# Mask R-CNN with 91 classes: millions of parameters in the official model zoo
MASK_DETECTORS = {
    'spinenet_mask-rcnn_49_640-350e_coco': 40.8,
    'spinenet_mask-rcnn_96_1024-350e_coco': 55.2,
    'spinenet_mask-rcnn_143_1280-350e_coco': 79.2,
    'spinenet-c_mask-rcnn_190_1536-400e_coco': 168.2,
}


def cost(model, size):
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size, device='meta'))
    params = sum(p.numel() for p in model.parameters())
    return params, counter.get_total_flops() // 2


@pytest.mark.parametrize(('arch', 'size'), BACKBONES)
def test_census_of_backbones(arch, size):
    with torch.device('meta'):
        model = MODELS.build(dict(type='SpineNet', arch=arch))
    assert cost(model, size) == BACKBONES[arch, size]


@pytest.mark.parametrize('config', DETECTORS)
def test_census_of_detectors(config):
    """A convolution before a norm has a bias officially."""
    cfg = get_config(config).model
    size = int(config.split('_')[3].split('-')[0])
    for classes, expected in zip((80, 91), DETECTORS[config], strict=True):
        cfg.bbox_head.num_classes = classes
        with torch.device('meta'):
            model = nn.Sequential(
                MODELS.build(cfg.backbone), MODELS.build(cfg.bbox_head)
            )
        params, macs = cost(model, size)
        if classes == 91:
            head = cfg.bbox_head
            params += 2 * head.stacked_convs * head.feat_channels
        assert (params, macs) == expected


@pytest.mark.parametrize(('config', 'millions'), MASK_DETECTORS.items())
def test_parameters_of_mask_rcnn(config, millions):
    """The background is a class of the official mask head, too."""
    cfg = get_config(config).model
    cfg.roi_head.bbox_head.num_classes = 90
    cfg.roi_head.mask_head.num_classes = 91
    with torch.device('meta'):
        model = MODELS.build(cfg)
    params = sum(p.numel() for p in model.parameters())
    assert params / 1e6 == pytest.approx(millions, rel=2e-3)


def tiny(**options):
    torch.manual_seed(0)
    return SpineNet(**(TINY | options))


def randomize(model):
    """Blocks that are not their shortcut, and other statistics."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if 'bn' in name and tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize('size', [(128, 128), (128, 256), (384, 128)])
@pytest.mark.parametrize('same', [False, True])
def test_levels(size, same):
    outs = tiny(same_pad_pool=same).eval()(torch.rand(2, 3, *size))
    assert [tuple(y.shape) for y in outs] == [
        (2, 8, size[0] // 2**level, size[1] // 2**level)
        for level in range(3, 8)
    ]


@pytest.mark.parametrize('levels', [(3, 4, 5), (6,), (7, 3)])
def test_output_levels(levels):
    """The same maps; what only others need is not built."""
    full = randomize(tiny()).eval()
    part = tiny(output_level=levels)
    missing, extra = part.load_state_dict(full.state_dict(), strict=False)
    assert not missing and extra
    x = torch.rand(2, 3, 128, 128)
    expected = dict(zip(range(3, 8), full(x), strict=True))
    part.eval()
    for level, y in zip(levels, part(x), strict=True):
        assert torch.equal(y, expected[level])
    part.train()
    sum(y.sum() for y in part(x)).backward()
    assert all(p.grad is not None for p in part.parameters())


def test_the_extra_edge_has_no_layers():
    """The input of node 14 is a function of node 11 itself."""
    net = randomize(tiny(act_cfg=SWISH)).eval().double()
    outs = {}
    net.scale_permuted_blocks['9'].register_forward_hook(
        lambda m, x, y: outs.__setitem__(11, y)
    )
    net.merge_ops['12'].register_forward_hook(
        lambda m, x, y: outs.__setitem__('merged', y)
    )
    net.scale_permuted_blocks['12'].register_forward_pre_hook(
        lambda m, x: outs.__setitem__('input', x[0])
    )
    net(torch.rand(1, 3, 128, 128, dtype=torch.double))
    total = nn.functional.silu(outs['merged'] + outs[11])
    torch.testing.assert_close(outs['input'], total)


@pytest.mark.parametrize('endpoint_act', [False, True])
def test_activation_of_the_outputs(endpoint_act):
    net = randomize(tiny(endpoint_act=endpoint_act)).eval()
    outs = net(torch.randn(1, 3, 128, 128))
    assert any((y < 0).any() for y in outs) != endpoint_act


@pytest.mark.parametrize('act_cfg', [None, SWISH])
@pytest.mark.parametrize('bottleneck', [False, True])
def test_blocks_change_nothing_in_place(bottleneck, act_cfg):
    """Neither the input, nor what a second forward pass gives."""
    net = randomize(tiny(act_cfg=act_cfg)).train()
    kind = next(
        block
        for block in net.modules()
        if isinstance(block, SpineBlock)
        and (block.depth == 3) == bottleneck
        and block.downsample is None
    )
    x = torch.randn(2, kind.conv1.in_channels, 8, 8)
    kept = x.clone()
    assert torch.equal(kind(x), kind(x))
    assert torch.equal(x, kept)
    images = torch.randn(2, 3, 128, 128)
    for one, other in zip(net(images), net(images), strict=True):
        assert torch.equal(one, other)


def test_stochastic_depth():
    """Per sample, scaled, growing with the depth, and off in eval mode."""
    net = randomize(tiny(drop_connect_rate=0.6, repeats=2))
    rates = [
        [block.drop_path.drop_prob for block in group]
        for group in net.scale_permuted_blocks.values()
    ]
    for i, pair in enumerate(rates):
        assert pair == pytest.approx([0.04 * (i + 1)] * 2)
    for group in (net.init_block1, net.init_block2):
        assert all(block.drop_path.drop_prob == 0 for block in group)
    block = net.scale_permuted_blocks['14'][1]
    block.activation = nn.Identity()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    x = torch.randn(1, 64, 2, 2).expand(4000, -1, -1, -1)
    with torch.no_grad():
        block.eval()
        full = block(x)[:1] - x[:1]
        block.train()
        for norm in (block.bn1, block.bn2, block.bn3):
            norm.eval()
        found = block(x) - x
    dropped = (found == 0).flatten(1).all(1)
    torch.testing.assert_close(
        dropped.float().mean(), torch.tensor(0.6), rtol=0, atol=0.03
    )
    kept = found[~dropped]
    torch.testing.assert_close(
        kept, (full / 0.4).expand_as(kept), rtol=1e-4, atol=1e-4
    )


def test_drop_block_in_training_alone():
    net = randomize(tiny(drop_block=dict(drop_prob=0.2, size=3)))
    plain = tiny()
    plain.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 128, 128)
    for model in (net, plain):
        model.eval()
    for one, other in zip(net(x), plain(x), strict=True):
        assert torch.equal(one, other)
    block = net.train().init_block2[0]
    x = torch.rand(2, 16, 32, 32) + 1
    assert (block(x) == 0).any()


def test_starts_as_shortcuts():
    net = tiny()
    net.init_weights()
    official = tiny(zero_init_residual=False)
    official.init_weights()
    for model, value in ((net, 0), (official, 1)):
        for block in model.modules():
            if isinstance(block, SpineBlock):
                last = getattr(block, f'bn{block.depth}').weight
                assert (last == value).all()
                assert (block.bn1.weight == 1).all()
    weight = net.conv1.conv.weight
    std = (2 / (8 * 49)) ** 0.5  # Kaiming by the outputs
    torch.testing.assert_close(
        weight.std(), torch.tensor(std), rtol=0.1, atol=0
    )


def test_checkpointing_gives_the_same_gradients():
    nets = [randomize(tiny(with_cp=with_cp)) for with_cp in (False, True)]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(2, 3, 128, 128)
    for net in nets:
        net.train()
        sum(y.square().sum() for y in net(x)).backward()
    for one, other in zip(*(n.parameters() for n in nets), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4)


def test_norms():
    """SyncBN for the archs that need it; eval mode on request."""
    for arch, kind in (('96', nn.BatchNorm2d), ('190', nn.SyncBatchNorm)):
        with torch.device('meta'):
            norm = SpineNet(arch).conv1.bn
        assert isinstance(norm, kind)
        assert (norm.momentum, norm.eps) == (0.01, 1e-3)
    net = tiny(norm_eval=True).train()
    assert not any(m.training for m in net.modules() if 'Norm' in str(type(m)))
    assert net.conv1.conv.training
    assert copy.deepcopy(net).norm_eval


@pytest.mark.parametrize('size', [(480, 640), (640, 100), (1, 1), (127, 128)])
def test_refuses_other_sizes(size):
    message = (
        f'multiples of 128, got {size[0]}x{size[1]}: set '
        r'data_preprocessor\.pad_size_divisor=128'
    )
    with pytest.raises(ValueError, match=message):
        tiny()(torch.rand(1, 3, *size))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='50'), r"arch must be one of 49S, .*, 190, got '50'"),
        (dict(arch='49m'), "got '49M'; did you mean 49 or 49S"),
        (dict(arch=142), "got '142'; did you mean 143"),
        (dict(output_level=(2, 3)), r'levels from 3 to 7, got \(2, 3\)'),
        (dict(output_level=(3, 8)), r'levels from 3 to 7, got \(3, 8\)'),
        (dict(output_level=()), r'levels from 3 to 7, got \(\)'),
        (dict(output_level=(3, 3)), r'a level twice: \(3, 3\)'),
        (dict(width=0), 'width must be positive, got 0'),
        (dict(repeats=0), 'repeats must be positive, got 0'),
        (dict(alpha=-1), 'alpha must be positive, got -1'),
        (dict(alpha=0.1), r'alpha=0\.1 of 4 filters .* leaves no channels'),
        (dict(drop_connect_rate=1.0), r'in \[0, 1\), got 1\.0'),
        (dict(drop_connect_rate=-0.1), r'in \[0, 1\), got -0\.1'),
        (dict(drop_block=dict(prob=0.1)), r"drop_block .* got \{'prob': 0\.1"),
        (dict(drop_block=dict(drop_prob=1, size=7)), r"got \{'drop_prob': 1,"),
        (dict(drop_block=dict(drop_prob=0.1, size=0)), r"'size': 0\}"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_unknown_arguments_are_errors():
    with pytest.raises(TypeError, match='frozen_stages'):
        SpineNet(frozen_stages=1)


def test_weights_of_a_plain_resnet(tmp_path):
    path = tmp_path / 'resnet18.pth'
    torch.save(MODELS.build(dict(type='ResNet', depth=18)).state_dict(), path)
    net = tiny(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    message = r'keys such as conv1\.weight is one of SpineNet, .* plain ResNet'
    with pytest.raises(ValueError, match=message):
        net.init_weights()


def test_names_of_archs():
    """A number is what ``--cfg-options model.backbone.arch=96`` gives."""
    with torch.device('meta'):
        assert len(SpineNet(arch=96).init_block1) == 2
        assert SpineNet('49s').init_block1[0].conv1.out_channels == 41
