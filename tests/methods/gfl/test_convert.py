"""The converter of GFL: mmdet's names but for one, on random weights."""

import torch
from official_boxes import (
    STRIDES,
    assert_same,
    cells,
    class_maps,
    deltas,
    maps,
    official_file,
    result_file,
    write_inclusive,
)
from official_weights import assert_loads, build

CONFIG = 'gfl-released_r50_fpn_1x_coco'
OUR, THEIR = 'bbox_head.integral.', 'bbox_head.distribution_project.'


def test_loads_strictly():
    theirs = {
        name.replace(OUR, THEIR): torch.zeros(tensor.shape)
        for name, tensor in build(CONFIG).state_dict().items()
    }
    theirs[f'{THEIR}project'] = torch.randn(17)
    same = {f'{OUR}project': f'{THEIR}project'}
    assert_loads('gfl', theirs, same, CONFIG)


def decode(place, bins):
    """Expected distances from the center of an inclusive anchor."""
    level, y, x, _ = place
    stride = STRIDES[level]
    center_x, center_y = (
        at * stride + (stride - 1) / 2  # of [-3.5 s + 0, 4.5 s - 1]
        for at in (x, y)
    )
    powers = bins.reshape(4, 17).exp()
    weights = torch.arange(17, dtype=torch.float64)
    left, top, right, bottom = (
        stride * float((row * weights).sum() / row.sum()) for row in powers
    )
    return (
        center_x - left,
        center_y - top,
        center_x + right,
        center_y + bottom,
    )


def test_boxes_of_the_official_result_file():
    places = cells()
    places, values, theirs = official_file(
        places, deltas(places, (3.0,) * 68), decode, write_inclusive
    )
    ours = result_file(CONFIG, class_maps(places), maps(places, values))
    assert_same(ours, theirs)
