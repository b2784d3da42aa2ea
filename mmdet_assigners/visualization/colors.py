"""The one palette of all images."""

import colorsys
import math

import numpy as np

# text: main, secondary; lines: dark, light
INK, GRAY = '#1c1f24', '#7a7f87'
DARK, LIGHT = '#44484f', '#c9ccd1'
# data: main, pale, and what deserves attention
MAIN, PALE, ALERT = '#5b7fb4', '#8fa9cf', '#c8322b'


def distinct_colors(count: int) -> np.ndarray:
    """Distinct colors (count, 3), RGB in [0, 1]; an index keeps its color."""
    golden = (math.sqrt(5) - 1) / 2
    return np.array(
        [
            colorsys.hsv_to_rgb(
                (0.6 + i * golden) % 1,
                (0.95, 0.7, 0.85)[i % 3],
                (0.85, 0.95, 0.6)[i // 3 % 3],
            )
            for i in range(count)
        ]
    ).reshape(count, 3)


# lines of a page, on white and on black
SERIES_LIGHT = (
    *('#2a6fbb', '#c8322b', '#24814f', '#a66300'),
    *('#7a4fb3', '#00798a', '#a8326e', '#5c6370'),
)
SERIES_DARK = (
    *('#6fa8e8', '#f0766f', '#5fc08d', '#e0a04a'),
    *('#b394e6', '#4fc3d0', '#e37fb0', '#a9b0ba'),
)
