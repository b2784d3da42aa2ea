"""What is drawn: the assignment of one config on one image."""

import colorsys
import math
from dataclasses import dataclass

import numpy as np


@dataclass
class AssignmentRow:
    """What is drawn for one config (P priors, G objects).

    Attributes:
        title: Name of the config.
        subtitle: One line about it (head, assigner, weights).
        image: Image (H, W, 3), RGB uint8, in the scale of the boxes.
        boxes: Objects (G, 4), x1 y1 x2 y2 in px.
        labels: Class of each object (G,).
        ignored_boxes: Regions (N, 4) that take no part in training.
        priors: Points (P, 2) or boxes (P, 4) in px.
        level: Pyramid level of each prior (P,), from 0.
        stride: Stride of each prior (P,) in px.
        assigned_gt: Object of each prior (P,), -1 negative, -2 ignored.
        weight: Loss weight of each prior (P,).
    """

    title: str
    subtitle: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored_boxes: np.ndarray
    priors: np.ndarray
    level: np.ndarray
    stride: np.ndarray
    assigned_gt: np.ndarray
    weight: np.ndarray

    @property
    def num_levels(self) -> int:
        """Number of pyramid levels."""
        return int(self.level.max()) + 1 if len(self.level) else 0

    @property
    def centers(self) -> np.ndarray:
        """Center of each prior (P, 2) in px."""
        if self.priors.shape[1] == 2:
            return self.priors
        return (self.priors[:, :2] + self.priors[:, 2:]) / 2

    @property
    def level_names(self) -> list[str]:
        """Names such as P3, from the strides."""
        strides = [
            self.stride[self.level == i][0] for i in range(self.num_levels)
        ]
        return [f'P{math.log2(s):.3g}' for s in strides]

    def counts(self) -> np.ndarray:
        """Positives of each object on each level (G, L)."""
        table: np.ndarray = np.zeros(
            (len(self.boxes), self.num_levels), dtype=int
        )
        positive = self.assigned_gt >= 0
        np.add.at(table, (self.assigned_gt[positive], self.level[positive]), 1)
        return table


def object_colors(count: int) -> np.ndarray:
    """Distinct colors (count, 3), the same for the same index."""
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
