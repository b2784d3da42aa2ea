"""Converter of Darknet weights, against a reading of Darknet's own layers."""

import math

import numpy as np
import pytest
import torch
from official_boxes import (
    assert_same,
    cells,
    deltas,
    logits,
    maps,
    official_file,
    result_file,
    write_exclusive,
)
from official_darknet import (
    HEADER,
    LEAKY,
    LINEAR,
    Weights,
    darknet,
    image,
    write,
    yolo_inputs,
)
from official_weights import build

from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.gaussian_yolov3 import convert as converter

CONFIG = 'gaussian-yolov3-released_d53_512-458e_bdd100k'


def cfg(outputs):
    """The layers of Gaussian_yolov3_BDD.cfg."""

    def conv(width, size, stride=1):
        return ('conv', width, size, stride, 1, LEAKY)

    layers = [conv(32, 3)]
    for width, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        layers.append(conv(width, 3, 2))
        for _ in range(blocks):
            layers += [conv(width // 2, 1), conv(width, 3)]
            layers.append(('shortcut', -3, LINEAR))
    for width, lateral in ((512, None), (256, 61), (128, 36)):
        if lateral is not None:
            layers += [('route', -4), conv(width, 1), ('upsample',)]
            layers.append(('route', -1, lateral))
        layers += 3 * [conv(width, 1), conv(2 * width, 3)]
        layers += [('linear', outputs), ('yolo',)]
    return layers


def test_computes_what_darknet_computes(tmp_path):
    weights, x = Weights(), image()
    expected = yolo_inputs(cfg(57), darknet(x, cfg(57), weights))
    source, out = tmp_path / 'bdd.weights', tmp_path / 'out.pth'
    write(source, weights.numbers)
    assert convert_file('gaussian_yolov3', source, out)[1] == CONFIG
    model = build(CONFIG).eval()
    state = torch.load(out, weights_only=True)['state_dict']
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all(name.endswith('num_batches_tracked') for name in missing)
    with torch.no_grad():
        (found,) = model.bbox_head(model.neck(model.backbone(x)))
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.01
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('classes', [1, 80])
def test_counts_the_classes(classes):
    class Count(Weights):
        def __call__(self, *shape, **_):
            self.numbers.append(int(np.prod(shape)))
            return torch.zeros(shape, device='meta')

    weights = Count()
    x = torch.zeros(1, 3, 32, 32, device='meta')
    darknet(x, cfg(3 * (9 + classes)), weights)
    total = sum(weights.numbers)
    found = converter.shapes(total)
    assert found['bbox_head.convs_pred.1.bias'] == [3 * (9 + classes)]
    with pytest.raises(ValueError, match='no Gaussian YOLOv3 of Darknet-53'):
        converter.shapes(total + 1)
    with pytest.raises(ValueError, match='no Gaussian YOLOv3 of Darknet-53'):
        converter.shapes(1000)


def test_old_and_broken_headers(tmp_path):
    path = tmp_path / 'a.weights'
    numbers = np.arange(4, dtype=np.float32)
    for header in (HEADER, np.array([0, 1, 0, 7], np.int32)):
        path.write_bytes(header.tobytes() + numbers.tobytes())
        assert converter.read(str(path))['model']['numbers'].tolist() == [
            0,
            1,
            2,
            3,
        ]
    path.write_bytes(b'abc')
    with pytest.raises(ValueError, match='is no weights file of Darknet'):
        converter.read(str(path))
    with pytest.raises(ValueError, match='there is no file'):
        converter.read(str(tmp_path / 'none'))


STRIDES = (32, 16, 8)
SIZES = (
    ((73, 175), (141, 178), (144, 291)),
    ((32, 97), (57, 64), (92, 109)),
    ((7, 10), (14, 24), (27, 43)),
)


def decode(place, output):
    """``get_gaussian_yolo_box``, in pixels of the input."""
    level, row, column, anchor = place
    x, _, y, _, w, _, h, _ = map(float, output)
    center_x = (column + 1 / (1 + math.exp(-x))) * STRIDES[level]
    center_y = (row + 1 / (1 + math.exp(-y))) * STRIDES[level]
    width = math.exp(w) * SIZES[level][anchor][0]
    height = math.exp(h) * SIZES[level][anchor][1]
    return (
        center_x - width / 2,
        center_y - height / 2,
        center_x + width / 2,
        center_y + height / 2,
    )


def test_boxes_of_the_official_result_file():
    """Darknet clips what it writes; its file holds x1, y1, x2, y2."""
    options = dict(anchors=3, strides=STRIDES)
    places = cells(**options)
    values = deltas(places, (1.0,) * 8)
    values[:, 1::2] = -6.0  # nearly certain: scores in the order of places
    places, values, theirs = official_file(
        places, values, decode, write_exclusive
    )
    count = len(places)
    outputs = torch.cat(
        (values, torch.full((count, 1), 20.0), logits(places, 10)), 1
    )
    ours = result_file(
        CONFIG, tuple(maps(places, outputs, fill=-20.0, **options))
    )
    assert_same(ours, theirs)
