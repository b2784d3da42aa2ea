"""Converter of CSPNet, against readings of both official formats."""

import math

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from official_boxes import (
    HEIGHT,
    KEEP_ALL,
    META,
    WIDTH,
    as_written,
    assert_same,
    cells,
    deltas,
    logits,
    official_file,
    result_file,
    write_exclusive,
)
from official_boxes import maps as level_maps
from official_darknet import (
    CFGS,
    Weights,
    darknet,
    image,
    normalize,
    panet,
    write,
    yolo_inputs,
)
from torch.nn import functional as F

from mmdet_assigners.conversion import convert_file, load_converter
from mmdet_assigners.methods.cspnet import convert as converter
from mmdet_assigners.utils import get_config

CONFIGS = dict(
    csdarknet53='cspnet_retinanet_d53_fpn_1x_coco',
    csresnet50='cspnet_retinanet_r50_fpn_1x_coco',
    csresnext50='cspnet_retinanet_x50-32x4d_fpn_1x_coco',
)
PANET = 'cspnet-panet-spp_yolov3_{}_ms-512-273e_coco'
CIOU = 'cspnet-panet-spp-ciou_yolov3_{}_ms-512-273e_coco'
GIOU = 'cspnet-panet-spp-giou_yolov3_x50-32x4d_ms-512-273e_coco'


def load_into(node, path):
    node.pop('init_cfg', None)
    model = MODELS.build(node)
    state = torch.load(path, weights_only=True)['state_dict']
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all(name.endswith('num_batches_tracked') for name in missing)
    return model.eval()


@pytest.mark.parametrize(
    ('name', 'classifier', 'size'),
    [
        ('csdarknet53', False, (64, 64)),
        ('csresnet50', False, (75, 101)),
        ('csresnet50', True, (64, 64)),
        ('csresnext50', False, (66, 34)),
    ],
)
def test_computes_what_darknet_computes(tmp_path, name, classifier, size):
    weights = Weights()
    expected = darknet(image(*size), CFGS[name], weights)[-1]
    if classifier:
        weights(1000)
        weights(1000, expected.shape[1], 1, 1)
    source, out = tmp_path / f'{name}.weights', tmp_path / 'out.pth'
    write(source, weights.numbers)
    assert convert_file('cspnet', source, out)[1] == CONFIGS[name]
    net = load_into(get_config(CONFIGS[name]).model.backbone, out)
    with torch.no_grad():
        found = net(image(*size))[-1]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


ANCHORS = {
    # of YOLOv3, and of the later detectors
    False: (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    ),
    True: (
        ((12, 16), (19, 36), (40, 28)),
        ((36, 75), (76, 55), (72, 146)),
        ((142, 110), (192, 243), (459, 401)),
    ),
}
SCALES = (1.2, 1.1, 1.05)  # scale_x_y
PLAIN = (1.0, 1.0, 1.0)


def decode(output, level, row, column, anchor, scale):
    """A yolo layer: corners in pixels of the network's input."""
    stride = 8 * 2**level
    x, y, w, h = map(float, output)
    left, top = (
        (cell + scale / (1 + math.exp(-value)) - (scale - 1) / 2) * stride
        for cell, value in ((column, x), (row, y))
    )
    width, height = math.exp(w) * anchor[0], math.exp(h) * anchor[1]
    return (
        left - width / 2,
        top - height / 2,
        left + width / 2,
        top + height / 2,
    )


def anchors_of(out):
    """(1, 255, H, W) -> (H, W, anchors, 85)."""
    return out[0].unflatten(0, (3, 85)).permute(2, 3, 0, 1)


def detections(maps, later, scales, threshold):
    """What Darknet writes: a row of class, score, x, y, width, height."""
    found = []
    for level, out in enumerate(maps):
        cells = anchors_of(out)
        for row, column, k in np.ndindex(cells.shape[:3]):
            output = cells[row, column, k]
            chances = output[5:].sigmoid()
            scores = output[4].sigmoid() * chances
            anchor = ANCHORS[later][level][k]
            box = decode(output[:4], level, row, column, anchor, scales[level])
            found.extend(
                [i, scores[i], *write_exclusive(*box)]
                for i in (chances > threshold).nonzero().flatten().tolist()
            )
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize(
    ('name', 'config', 'later', 'scales'),
    [
        ('csdarknet53', PANET.format('d53'), False, PLAIN),
        ('csresnet50', PANET.format('r50'), False, PLAIN),
        ('csresnext50', CIOU.format('x50-32x4d'), True, SCALES),
    ],
)
def test_detector_writes_what_darknet_writes(
    tmp_path, name, config, later, scales
):
    """From the file of weights and an image to boxes, to 1e-3 pixels."""
    init_default_scope('mmdet')
    weights = Weights(torch.float64)
    layers = panet(name, 255)
    pixels = (image(256, 320) * 255).byte()
    pixels[..., HEIGHT:, :] = 0  # padding
    pixels[..., WIDTH:] = 0
    outs = darknet((pixels.flip(1) / 255).double(), layers, weights)
    maps = yolo_inputs(layers, outs)
    source, out = tmp_path / 'a.weights', tmp_path / 'out.pth'
    write(source, weights.numbers)
    guess = PANET.format('x50-32x4d' if later else config.split('_')[2])
    assert convert_file('cspnet', source, out)[1] == guess
    cfg = get_config(config).model
    cfg.backbone.init_cfg = None
    # about 400 detections, the threshold is in the widest gap around
    chances = torch.cat([anchors_of(m)[..., 5:].flatten() for m in maps])
    chances = chances.sigmoid().topk(500)[0][300:]
    last = chances.diff().argmin()
    threshold = chances[last : last + 2].mean().item()
    # nearly equal boxes have an IoU of 1 and a bit
    nms = dict(type='nms', iou_threshold=2.0)
    cfg.test_cfg.update(KEEP_ALL, score_thr=threshold, nms=nms)
    model = load_into(cfg, out)
    sample = DetDataSample(metainfo=META)
    data = dict(inputs=[pixels[0, :, :HEIGHT, :WIDTH]], data_samples=[sample])
    batch = model.data_preprocessor(data)
    model.double()
    with torch.no_grad():
        (found,) = model.bbox_head(
            model.extract_feat(batch['inputs'].double())
        )
        for ours, theirs in zip(found, maps[::-1], strict=True):
            assert theirs.std() > 0.01
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
        (results,) = model.bbox_head.predict_by_feat(
            [level.float() for level in found], [META], rescale=True
        )
    ours = torch.tensor(as_written(results.bboxes), dtype=torch.float64)
    ours = torch.cat(
        [results.labels[:, None], results.scores[:, None], ours], 1
    )
    theirs = detections(maps, later, scales, threshold)
    assert len(ours) == len(theirs) > 300
    # each has its counterpart in the other file
    distances = (ours[:, None] - theirs).abs().amax(-1)
    for side in (0, 1):
        assert distances.amin(side).max() < 1e-3


@pytest.mark.parametrize(
    ('config', 'later', 'scales'),
    [
        (PANET.format('d53'), False, PLAIN),
        (PANET.format('r50'), False, PLAIN),
        (PANET.format('x50-32x4d'), False, PLAIN),
        (PANET.format('x50-32x4d').replace('512', '608'), False, PLAIN),
        (GIOU, False, SCALES),
        (GIOU.replace('512', '608'), False, SCALES),
        (CIOU.format('d53'), True, SCALES),
        (CIOU.format('x50-32x4d'), True, SCALES),
        (CIOU.format('x50-32x4d').replace('512', '608'), True, SCALES),
    ],
)
def test_boxes_of_the_official_result_file(config, later, scales):
    options = dict(anchors=3, strides=(32, 16, 8))
    places = cells(**options)
    values = deltas(places, (2.0, 2.0, 0.7, 0.7))
    places, values, theirs = official_file(
        places,
        values,
        lambda place, output: decode(
            output,
            2 - place[0],
            *place[1:3],
            ANCHORS[later][2 - place[0]][place[3]],
            scales[2 - place[0]],
        ),
        write_exclusive,
    )
    certain = torch.full((len(places), 1), 20.0)
    outputs = torch.cat((values, certain, logits(places)), 1)
    ours = result_file(
        config, tuple(level_maps(places, outputs, fill=-20.0, **options))
    )
    assert_same(ours, theirs)


def test_length_of_a_file_tells_the_network():
    """No two detectors have as many numbers, whatever their classes."""
    fixed, channel = [], set()
    for shapes, outputs in converter.candidates():
        total = sum(math.prod(shape) for shape in shapes.values())
        own = sum(math.prod(shapes[name]) for name in outputs)
        if any('convs_pred' in name for name in outputs):
            fixed.append(total - own)
            channel.add(own // 255)
    (channel,) = channel
    assert len(fixed) == 3
    remainders = {count % (converter.ANCHORS * channel) for count in fixed}
    assert len(remainders) == 3


def test_detector_of_other_classes_needs_a_config(tmp_path):
    weights = Weights()
    darknet(image(), panet('csresnext50', 3 * 7), weights)
    source, out = tmp_path / 'a.weights', tmp_path / 'out.pth'
    write(source, weights.numbers)
    with pytest.raises(ValueError, match=r'no config fits .* --config'):
        convert_file('cspnet', source, out)


def test_other_files(tmp_path):
    path = tmp_path / 'a.weights'
    write(path, [np.zeros(1000, np.float32)])
    with pytest.raises(ValueError, match='1000 numbers are no CSPDarknet-53'):
        convert_file('cspnet', path, tmp_path / 'out.pth')
    plain = MODELS.build(dict(type='ResNet', depth=18)).state_dict()
    path = tmp_path / 'resnet18.pth'
    torch.save(plain, path)
    with pytest.raises(ValueError, match=r'keys are unknown: conv1\.weight'):
        convert_file('cspnet', path, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


class Official:
    """State dict of mmpretrain's CSPNet, made as its forward pass runs."""

    def __init__(self, dark, widths, mids, blocks, groups):
        self.state = {}
        self.rng = torch.Generator().manual_seed(0)
        self.dark, self.groups = dark, groups
        self.widths, self.mids, self.blocks = widths, mids, blocks

    def rand(self, *shape, low=-1.0, high=1.0):
        return torch.rand(shape, generator=self.rng) * (high - low) + low

    def conv(self, x, conv, norm, filters, size=1, stride=1, groups=1):
        inputs = x.shape[1] // groups
        reach = (3 / inputs) ** 0.5 / size
        kernel = self.rand(filters, inputs, size, size, low=-reach, high=reach)
        parts = dict(
            bias=self.rand(filters, low=-0.3, high=0.3),
            weight=self.rand(filters, low=0.5),
            running_mean=self.rand(filters),
            running_var=self.rand(filters, low=0.5, high=2),
        )
        self.state[f'backbone.{conv}.weight'] = kernel
        for part, value in parts.items():
            self.state[f'backbone.{norm}.{part}'] = value
        self.state[f'backbone.{norm}.num_batches_tracked'] = torch.tensor(3)
        x = F.conv2d(x, kernel, None, stride, size // 2, groups=groups)
        return normalize(x, *parts.values())

    def module(self, x, name, filters, act=True, **options):
        x = self.conv(x, f'{name}.conv', f'{name}.bn', filters, **options)
        return F.leaky_relu(x, 0.01) if act else x

    def block(self, x, name, mid):
        if self.dark:
            y = self.module(x, f'{name}.conv1', mid)
            return x + self.module(y, f'{name}.conv2', x.shape[1], size=3)
        y = x
        for i, (filters, size, groups) in enumerate(
            ((mid, 1, 1), (mid, 3, self.groups), (x.shape[1], 1, 1)), 1
        ):
            y = self.conv(
                y,
                f'{name}.conv{i}',
                f'{name}.bn{i}',
                filters,
                size=size,
                groups=groups,
            )
            y = F.leaky_relu(y if i < 3 else x + y, 0.01)
        return y

    def run(self, x):
        if self.dark:
            x = self.module(x, 'stem', 32, size=3)
        else:
            x = self.module(x, 'stem.0', 64, size=7, stride=2)
            x = F.max_pool2d(x, 3, 2, 1)
        for i, ((half, width), mid, blocks) in enumerate(
            zip(self.widths, self.mids, self.blocks, strict=True)
        ):
            stage = f'stages.{i}'
            if self.dark or i:
                x = self.module(
                    x,
                    f'{stage}.downsample_conv',
                    width if self.dark else x.shape[1],
                    size=3,
                    stride=2,
                    groups=self.groups,
                )
            x = self.module(x, f'{stage}.expand_conv', 2 * half, act=self.dark)
            bypass, y = x.chunk(2, 1)
            for j in range(blocks):
                y = self.block(y, f'{stage}.blocks.{j}', mid)
            y = self.module(y, f'{stage}.atfer_blocks_conv', half)
            x = torch.cat([bypass, y], 1)
            x = self.module(x, f'{stage}.final_conv', width)
        self.state['head.fc.weight'] = self.rand(1000, x.shape[1])
        self.state['head.fc.bias'] = self.rand(1000)
        return x


FORMS = dict(
    d53=Official(
        True,
        [(64, 64), (64, 128), (128, 256), (256, 512), (512, 1024)],
        (32, 64, 128, 256, 512),
        (1, 2, 8, 8, 4),
        1,
    ),
    r50=Official(
        False,
        [(128, 128), (256, 256), (512, 512), (1024, 1024)],
        (64, 128, 256, 512),
        (3, 3, 5, 2),
        1,
    ),
)
FORMS['x50-32x4d'] = Official(
    False,
    [(128, 256), (256, 512), (512, 1024), (1024, 2048)],
    (128, 256, 512, 1024),
    (3, 3, 5, 2),
    32,
)


@pytest.mark.parametrize('short', FORMS)
def test_computes_what_mmpretrain_computes(tmp_path, short):
    official = FORMS[short]
    expected = official.run(image())
    source, out = tmp_path / 'official.pth', tmp_path / 'out.pth'
    torch.save(dict(state_dict=official.state), source)
    config = f'cspnet-mmpretrain_retinanet_{short}_fpn_1x_coco'
    assert convert_file('cspnet', source, out)[1] == config
    net = load_into(get_config(config).model.backbone, out)
    assert net.stem[0].bn.num_batches_tracked == 3
    with torch.no_grad():
        found = net(image())[-1]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_configs_of_one_file():
    for config, others in converter.OTHERS.items():
        with torch.device('meta'):
            states = [
                MODELS.build(get_config(c).model).state_dict()
                for c in (config, *others)
            ]
        shapes = [{k: v.shape for k, v in s.items()} for s in states]
        assert all(other == shapes[0] for other in shapes)
    assert load_converter('cspnet').alternatives('unknown') == []
