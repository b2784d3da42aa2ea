"""Texts of the files that ``new-method`` writes.

Every text marks what is left to do with :data:`MARK`, which
``tools/check_repo.py`` reports. ``$name`` is filled by
:class:`string.Template`.
"""

from dataclasses import dataclass

MARK = 'TODO' + '(new-method)'  # in two parts: this file is no stub


@dataclass(frozen=True)
class Base:
    """An mmdet config to start from, and the head of that detector."""

    config: str
    head: str
    extra: str = ''
    two_stage: bool = False
    assigner: bool = True


# FCOS in mmdet starts from Caffe weights whose host is gone.
_FCOS_BACKBONE = """\
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
"""
BASES = {
    'retinanet': Base('retinanet/retinanet_r50_fpn_1x_coco.py', 'RetinaHead'),
    'atss': Base('atss/atss_r50_fpn_1x_coco.py', 'ATSSHead'),
    'fcos': Base(
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        'FCOSHead',
        _FCOS_BACKBONE,
        assigner=False,
    ),
    'faster-rcnn': Base(
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'StandardRoIHead',
        two_stage=True,
    ),
}


MODULE = '''\
"""$title: $mark one line on what the method does."""

$imports

@$registry.register_module()
class $cls($parent):
    """$mark what it is.

    Paper: $mark title, venue, arXiv, equations.

    Differences from the official code: $mark none known, or a
    list, each with the switch that restores it.
    """

$body'''

CONFIG = """\
# $mark paper row, the paper's AP, GPUs x images, lr
_base_ = 'mmdet::$base_config'
custom_imports = dict(
    imports=['mmdet_assigners'], allow_failed_imports=False
)
model = dict(
$model)
auto_scale_lr = dict(base_batch_size=16)
"""

METAFILE = """\
Collections:
  - Name: $title
    Metadata:
      Training Data: COCO
      Architecture: [$cls]
      Kind: [$kind]
      Status: draft  # $mark M0 once the goldens pass
      Classes: [$cls]
    Paper:
      URL: $mark
      Title: $mark
    README: configs/$slug/README.md
Models:
  - Name: $config
    In Collection: $title
    Config: configs/$slug/$config.py
    Metadata:
      Epochs: 12
      Baseline: mmdet::$base_config
"""

README = """\
# $title

$mark link to the paper; what it adds, in three sentences of our own.

Status: draft

## The diff

```python
model = dict(
$model)
```

## Results

| config | paper AP | our AP | params | FLOPs |
| --- | --- | --- | --- | --- |
| [$config]($config.py) | $mark | not run | | |

## Deviations

$mark none known, or a list with the switch that restores each.
"""

ADAPTER = '''\
"""Golden adapters of $title."""

from golden_runner import adapter


@adapter('$slug.$kind')
def $slug(case):
    raise NotImplementedError(  # $mark
        'the adapter of $slug.$kind is not written yet'
    )
'''

TEST = '''\
"""$title: these tests fail until the stubs are written."""

from pathlib import Path

import pytest
$imports
from mmdet_assigners import get_config

CONFIG = '$config'
GOLDEN = Path(__file__).parents[2] / 'golden' / '$slug'


$test

def test_config_uses_the_class():
    assert "'$cls'" in get_config(CONFIG).pretty_text


def test_literal_result():
    # $mark a case of 3 to 5 elements, worked out by hand
    pytest.fail('$slug: write a case with its literal result')


def test_golden_cases_exist():
    assert (GOLDEN / 'manifest.json').is_file(), (
        'tests/golden/$slug/manifest.json is missing: '
        'reference values of the paper or of the official code'
    )
'''
