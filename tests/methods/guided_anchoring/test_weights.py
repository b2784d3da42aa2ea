"""Official weights, which are mmdet's, under our configs.

That the heads write mmdet's boxes is in ``test_heads.py``.
"""

import ast

import pytest
import torch
from helpers import read_config
from mmdet.registry import MODELS

from mmdet_assigners.conversion.geometry import geometry
from mmdet_assigners.utils import config_root, resolve_config

BASES = {}  # ours -> mmdet's
for path in sorted((config_root() / 'guided_anchoring').glob('*.py')):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            base = ast.unparse(node.value).strip("'")
            if base.startswith('mmdet::'):
                BASES[path.stem] = base
FIRST = [name for name in BASES if '_r50-' in name]


def build(name):
    return MODELS.build(read_config(resolve_config(name)).model)


@pytest.mark.parametrize('name', BASES)
def test_mmdets_weights_load(name):
    with torch.device('meta'):
        ours, theirs = build(name), build(BASES[name])
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


@pytest.mark.parametrize('name', FIRST)
def test_anchors_and_coders_are_mmdets(name):
    found = geometry(build(name))
    assert len(found) >= 4
    assert found == geometry(build(BASES[name]))
