from dataclasses import replace

import cv2
import numpy as np
import pytest
from test_analysis.calibrated import BOX, detections, errors

from mmdet_assigners.analysis.uncertainty import SideErrors
from mmdet_assigners.visualization.uncertainty import (
    UncertaintyPanel,
    draw_reliability,
    draw_uncertainty,
)


def test_reliability(tmp_path):
    nothing = SideErrors.join([])
    own = [('calibrated', errors(count=300)), ('nothing', nothing)]
    out = draw_reliability(own, tmp_path / 'plot.png', relative=True)
    image = cv2.imread(str(out)).astype(int)
    colored = np.ptp(image, axis=-1) > 20
    middle = len(image) // 2
    assert colored[:middle].sum() > 1000
    assert not colored[middle:].any()


def test_bands_grow_with_sigma(tmp_path):
    colored = []
    for sigma in (0.5, 20):
        panel = UncertaintyPanel(
            title='a_config',
            subtitle='one.png',
            image=np.full((160, 200, 3), 255, np.uint8),
            found=replace(detections(1), sigmas=np.full((1, 4), sigma)),
            objects=BOX,
        )
        out = draw_uncertainty([panel], ('ball',), tmp_path / 'out.png')
        image = cv2.imread(str(out)).astype(int)
        colored.append((np.ptp(image, axis=-1) > 20).sum())
    assert colored[1] > 2 * colored[0] > 0


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match='nothing to plot'):
        draw_reliability([], tmp_path / 'plot.png')
    with pytest.raises(ValueError, match='nothing to draw'):
        draw_uncertainty([], ('a',), tmp_path / 'plot.png')
    with pytest.raises(ValueError, match=r'ending in \.png'):
        draw_reliability([('a', errors(count=9))], tmp_path / 'plot.jpg')
