"""The assignment of one image: from a detector, and by hand."""

import numpy as np
import pytest
import torch
from test_analysis.hand_made import ASSIGNED, make_assignment

from mmdet_assigners.analysis import assignment
from mmdet_assigners.analysis.detectors import Detector
from mmdet_assigners.analysis.heads import collect_assignment
from mmdet_assigners.analysis.images import load_image, read_images
from mmdet_assigners.analysis.statistics import compare


@pytest.fixture
def fcos(config, detector):
    return Detector('fcos', config('fcos'), detector('fcos'))


def test_counts_by_hand():
    own = make_assignment(ASSIGNED)
    assert own.counts().tolist() == [[2, 1], [2, 0]]
    assert own.level_names == ['P4', 'P5']
    assert own.num_levels == 2
    assert own.positive.sum() == 5
    assert own.headline() == '5 positives on 2 of 2 objects'


def test_centers_of_boxes():
    own = make_assignment(ASSIGNED, priors=np.array([[0.0, 2.0, 8.0, 4.0]]))
    assert own.centers.tolist() == [[4, 3]]


def test_collect_gives_what_the_head_assigns(fcos, coco):
    infos = list(read_images(coco))
    first, second = assignment.collect(fcos, infos)
    (expected,) = collect_assignment(
        fcos.model, load_image(fcos.cfg, infos[0])
    )
    assert first.positive.any()
    for key in ('priors', 'level', 'stride', 'assigned_gt', 'weight'):
        assert np.array_equal(getattr(first, key), expected.get(key))
    assert (first.name, first.description) == ('fcos', 'FCOSHead')
    # 64 x 48 is resized to 320 x 240; areas are of the file
    assert first.image.shape == (240, 320, 3)
    assert first.boxes.tolist() == [[20, 30, 120, 180], [150, 50, 300, 200]]
    assert first.areas.tolist() == [20 * 30, 30 * 30]
    assert first.labels.tolist() == [0, 2]
    assert first.ignored_boxes.tolist() == [[0, 200, 320, 240]]
    assert first.seconds > 0
    assert len(second.boxes) == 0 and not second.positive.any()


@pytest.mark.parametrize(
    ('name', 'uses', 'description'),
    [
        ('retinanet', False, 'RetinaHead · MaxIoUAssigner'),
        (
            'tood',
            True,
            'TOODHead · TaskAlignedAssigner · by the predictions of an '
            'UNTRAINED network',
        ),
        # its assigner is never called
        (
            'freeanchor',
            True,
            'FreeAnchorRetinaHead · by the predictions of an UNTRAINED '
            'network',
        ),
    ],
)
def test_description(name, uses, description, config, detector):
    own = Detector(name, config(name), detector(name))
    assert assignment.uses_predictions(own) == uses
    assert assignment.describe(own) == description


def test_description_names_the_checkpoint(config, detector, tmp_path):
    file = tmp_path / 'epoch_1.pth'
    own = Detector('fsaf', config('fsaf'), detector('fsaf'), file)
    assert assignment.describe(own).endswith('predictions of epoch_1.pth')


def test_detector_without_dense_head(config):
    own = Detector('linear', config('fcos'), torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match='Linear has no dense head'):
        assignment.uses_predictions(own)


def test_a_detector_agrees_with_itself(fcos, coco):
    statistics, agreement = compare([fcos, fcos], read_images(coco))
    assert (agreement.table() == 1).all()
    first, second = (own.by_size() for own in statistics)
    assert first == second
    assert first[0].objects == 2 and first[0].mean > 1
