"""What detectors assign to images."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .adapters import find_adapter
from .detectors import Detector
from .heads import dense_head, read_assignment, run_head
from .images import ground_truths, load_image


@dataclass(frozen=True)
class ImageAssignment:
    """The assignment of one detector on one image.

    P priors, G objects (ground truths), L levels; px are those of the network
    input unless another scale is named.

    Attributes:
        name: Name of the config.
        description: Head, assigner and origin of the predictions, one line.
        image: Image (H, W, 3), RGB uint8.
        boxes: Objects (G, 4), x1 y1 x2 y2 in px.
        labels: Class of each object (G,).
        areas: Area of the box of each object (G,) in px^2 of the file.
        ignored_boxes: Regions (N, 4) that are excluded from training, in px.
        priors: Points (P, 2) or boxes (P, 4) in px.
        level: Pyramid level of each prior (P,), from 0.
        stride: Stride of each prior (P,) in px.
        assigned_gt: Index of the object of each prior (P,), -1 negative, -2
            ignored.
        weight: Loss weight of each prior (P,).
        seconds: Time of the assignment, without the network.
    """

    name: str
    description: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    ignored_boxes: np.ndarray
    priors: np.ndarray
    level: np.ndarray
    stride: np.ndarray
    assigned_gt: np.ndarray
    weight: np.ndarray
    seconds: float

    @property
    def positive(self) -> np.ndarray:
        """Whether a prior has an object (P,)."""
        return self.assigned_gt >= 0

    @property
    def centers(self) -> np.ndarray:
        """Center of each prior (P, 2) in px."""
        if self.priors.shape[1] == 2:
            return self.priors
        return (self.priors[:, :2] + self.priors[:, 2:]) / 2

    @property
    def num_levels(self) -> int:
        """Number L of pyramid levels."""
        return int(self.level.max()) + 1 if len(self.level) else 0

    @property
    def level_names(self) -> list[str]:
        """Names of the L levels, such as P3, from their strides."""
        strides = [
            self.stride[self.level == i][0] for i in range(self.num_levels)
        ]
        return [f'P{math.log2(s):.3g}' for s in strides]

    def counts(self) -> np.ndarray:
        """Number of positives of each object on each level (G, L)."""
        table: np.ndarray = np.zeros(
            (len(self.boxes), self.num_levels), dtype=int
        )
        index = self.assigned_gt[self.positive], self.level[self.positive]
        np.add.at(table, index, 1)  # unlike +=, counts repeated indices
        return table

    def headline(self) -> str:
        """The number of positives and of objects that have any."""
        totals = self.counts().sum(1)
        return (
            f'{totals.sum()} positives on {(totals > 0).sum()} of '
            f'{len(totals)} objects'
        )


def collect(
    detector: Detector, images: Iterable[dict[str, Any]]
) -> Iterator[ImageAssignment]:
    """What a detector assigns to images, one after another.

    Args:
        detector: Has a dense head with ``get_assignment`` or an adapter.
        images: Records, see :mod:`.images`.

    Yields:
        ImageAssignment: One per image.

    Raises:
        TypeError: The detector has no dense head, or the head no adapter.
        ValueError: A file is not an image.
    """
    for info in images:
        yield assign(detector, info)


def assign(detector: Detector, info: dict[str, Any]) -> ImageAssignment:
    """What a detector assigns to one image, see :func:`collect`."""
    data = load_image(detector.cfg, info)
    head, run = run_head(detector.model, data)
    _synchronize(detector.device)
    start = time.perf_counter()
    (result,) = read_assignment(head, run)
    _synchronize(detector.device)
    seconds = time.perf_counter() - start
    result = result.cpu().numpy()
    sample = data['data_samples'][0]
    file_boxes, _ = ground_truths(info)
    return ImageAssignment(
        name=detector.name,
        description=describe(detector),
        image=data['inputs'][0].permute(1, 2, 0).numpy()[..., ::-1],
        boxes=sample.gt_instances.bboxes.tensor.numpy(),
        labels=sample.gt_instances.labels.numpy(),
        areas=np.prod(file_boxes[:, 2:] - file_boxes[:, :2], axis=1),
        ignored_boxes=sample.ignored_instances.bboxes.tensor.numpy(),
        **{key: result.get(key) for key in result.keys()},
        seconds=seconds,
    )


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def uses_predictions(detector: Detector) -> bool:
    """Whether the assignment depends on predictions, so on the weights.

    Raises:
        TypeError: The detector has no dense head, or the head no adapter.
    """
    return find_adapter(dense_head(detector.model)).uses_predictions


def describe(detector: Detector) -> str:
    """Head, assigner and, if they matter, the weights, in one line.

    Raises:
        TypeError: The detector has no dense head, or the head no adapter.
    """
    head: Any = dense_head(detector.model)
    adapter = find_adapter(head)
    parts = [type(head).__name__]
    assigner = getattr(head, 'alignment_assigner', None)  # of TOOD
    assigner = assigner or getattr(head, 'assigner', None)
    # FreeAnchor has one that it never calls
    targets = {'get_targets', '_get_targets_single'}
    calls_it = not adapter.relies_on or targets & adapter.relies_on
    if assigner is not None and calls_it:
        parts.append(type(assigner).__name__)
    if adapter.uses_predictions:
        weights = detector.checkpoint
        source = weights.name if weights else 'an UNTRAINED network'
        parts.append(f'by the predictions of {source}')
    return ' · '.join(parts)
