"""A small assignment made by hand."""

import numpy as np

from mmdet_assigners.analysis.assignment import ImageAssignment

NAMES = ('ball', 'cone')


BOXES = ((8, 8, 40, 40), (32, 0, 64, 16))


def make_assignment(assigned, boxes=BOXES, **changes):
    """Levels of stride 16 (4 x 3 points) and 32 (2 points) on 64 x 48."""
    fine = [(8 + 16 * x, 8 + 16 * y) for y in range(3) for x in range(4)]
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    assigned = np.array(assigned)
    fields = dict(
        name='a_config',
        description='AHead',
        image=np.full((48, 64, 3), 255, dtype=np.uint8),
        boxes=boxes,
        labels=np.arange(len(boxes)) % 2,
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
        ignored_boxes=np.zeros((0, 4)),
        priors=np.array([*fine, (16, 16), (48, 16)], dtype=np.float32),
        level=np.array([0] * 12 + [1] * 2),
        stride=np.array([16] * 12 + [32] * 2),
        assigned_gt=assigned,
        weight=(assigned >= 0).astype(np.float32),
        seconds=0.5,
    )
    return ImageAssignment(**(fields | changes))


ASSIGNED = [-1, -1, 1, 1, -1, 0, -2, -1, -1, 0, -2, -1, 0, -1]
