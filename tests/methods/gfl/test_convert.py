"""The converter of GFL: mmdet's names but for one, on random weights."""

import torch
from official_weights import assert_loads, build

CONFIG = 'gfl-ablation_r50_fpn_1x_coco'
OUR, THEIR = 'bbox_head.integral.', 'bbox_head.distribution_project.'


def test_loads_strictly():
    theirs = {
        name.replace(OUR, THEIR): torch.zeros(tensor.shape)
        for name, tensor in build(CONFIG).state_dict().items()
    }
    theirs[f'{THEIR}project'] = torch.randn(17)
    same = {f'{OUR}project': f'{THEIR}project'}
    assert_loads('gfl', theirs, same, CONFIG)
