"""Predicted standard deviations of box sides against the actual errors."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import nn

from .detectors import Detector, evaluating
from .images import ground_truths, load_image

SIDES = ('x1', 'y1', 'x2', 'y2')
# E|e| of a Gaussian of standard deviation 1
MEAN_ABS = float(np.sqrt(2 / np.pi))


@dataclass(frozen=True)
class Detections:
    """N detections of one image, in px of the file, best score first.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2.
        sigmas: (N, 4) predicted standard deviations of the sides.
        scores: (N,).
        labels: (N,) classes.
    """

    boxes: np.ndarray
    sigmas: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def best(self, score_thr: float, limit: int | None = None) -> 'Detections':
        """The detections of at least this score, at most ``limit``."""
        keep = np.flatnonzero(self.scores >= score_thr)[:limit]
        return Detections(
            self.boxes[keep],
            self.sigmas[keep],
            self.scores[keep],
            self.labels[keep],
        )


@dataclass(frozen=True)
class SideErrors:
    """N matched detections: predicted and actual errors of their sides.

    Attributes:
        sigma: (N, 4) predicted standard deviation of each side.
        error: (N, 4) absolute distance of each side from that of the object.
        iou: (N,) IoU of detection and object.
    """

    sigma: np.ndarray
    error: np.ndarray
    iou: np.ndarray

    @classmethod
    def join(cls, parts: 'list[SideErrors]') -> 'SideErrors':
        """The detections of several images together."""
        if not parts:
            return cls(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0))
        return cls(
            np.concatenate([part.sigma for part in parts]),
            np.concatenate([part.error for part in parts]),
            np.concatenate([part.iou for part in parts]),
        )

    def side(
        self, index: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sigma, error and IoU of one side (N,), or of all sides (4 * N,)."""
        if index is None:
            return self.sigma.ravel(), self.error.ravel(), self.iou.repeat(4)
        return self.sigma[:, index], self.error[:, index], self.iou


class SideSummary(NamedTuple):
    """Numbers about sigma and error; NaN where they are not defined.

    Attributes:
        side: One of ``SIDES``, or 'all'.
        decile: Tenth of the sides by sigma, from 1; None: all of them.
        sides: Number of sides.
        mean_sigma: Mean predicted standard deviation.
        mean_error: Mean absolute error.
        ratio: Mean sigma over the sigma of Gaussian errors of the same mean:
            1 if calibrated, more if sigma is over-estimated.
        within_sigma: Share of the errors up to sigma, 0.683 if calibrated.
        error_correlation: Spearman's rank correlation of sigma and error.
        mean_iou: Mean IoU of the detections.
        iou_correlation: Spearman's rank correlation of sigma and IoU.
    """

    side: str
    decile: int | None
    sides: int
    mean_sigma: float
    mean_error: float
    ratio: float
    within_sigma: float
    error_correlation: float
    mean_iou: float
    iou_correlation: float


@torch.no_grad()
def detect(detector: Detector, info: dict[str, Any]) -> Detections:
    """The detections in an image, with the uncertainty of their sides.

    Args:
        detector: Its detections carry ``box_sigmas`` (N, 4).
        info: Record of the image, see :mod:`.images`.

    Raises:
        TypeError: The detections carry no ``box_sigmas``.
        ValueError: The file is not an image.
    """
    model = detector.model
    data = model.data_preprocessor(load_image(detector.cfg, info), False)
    with evaluating(model):
        found = model(**data, mode='predict')[0].pred_instances
    if 'box_sigmas' not in found:
        raise TypeError(
            f'{detector.name}: the detections of {_box_head(model)} carry no '
            'box_sigmas, the standard deviations of the sides; give a config '
            'that predicts uncertainty, such as gfl-ablation_r50_fpn_1x_coco, '
            "which also takes the weights of mmdet's GFL"
        )
    order = found.scores.argsort(descending=True, stable=True)
    found = found[order].cpu().numpy()
    return Detections(
        found.bboxes, found.box_sigmas, found.scores, found.labels
    )


def _box_head(model: nn.Module) -> str:
    owner = getattr(model, 'roi_head', None) or model
    return type(getattr(owner, 'bbox_head', None) or owner).__name__


def collect(
    detector: Detector,
    images: Iterable[dict[str, Any]],
    iou_thr: float = 0.5,
    score_thr: float = 0.05,
    relative: bool = False,
) -> SideErrors:
    """The errors of the detections in all images.

    Args:
        detector: Its detections carry ``box_sigmas``.
        images: Records, see :mod:`.images`.
        iou_thr: Smallest IoU of a detection with its object.
        score_thr: Smallest score of a detection.
        relative: Sigma and error as share of the object's width or height.

    Raises:
        TypeError: The detections carry no ``box_sigmas``.
        ValueError: A file is not an image.
    """
    parts = []
    for info in images:
        found = detect(detector, info).best(score_thr)
        parts.append(match(found, *ground_truths(info), iou_thr, relative))
    return SideErrors.join(parts)


def match(
    found: Detections,
    boxes: np.ndarray,
    labels: np.ndarray,
    iou_thr: float = 0.5,
    relative: bool = False,
) -> SideErrors:
    """Compare each detection with the object of its class it overlaps most.

    An object may be matched by several detections.

    Args:
        found: Detections of an image.
        boxes: (G, 4) objects, in px of the file.
        labels: (G,) their classes.
        iou_thr: Smallest IoU of a match.
        relative: Divide sigma and error by the width of the object (x1, x2)
            or its height (y1, y2).

    Returns:
        SideErrors: Of the matched detections.
    """
    if not len(boxes) or not len(found.boxes):
        return SideErrors.join([])
    overlaps = bbox_overlaps(
        torch.from_numpy(found.boxes.astype(float)), torch.from_numpy(boxes)
    )
    # (N, G), with other classes excluded
    iou = overlaps.numpy()
    iou[found.labels[:, None] != labels[None]] = -1
    index, best = iou.argmax(1), iou.max(1)
    keep = best >= max(iou_thr, np.finfo(float).tiny)
    truth = boxes[index[keep]]
    unit = np.ones_like(truth)
    if relative:
        unit = np.tile(truth[:, 2:] - truth[:, :2], 2)
    return SideErrors(
        found.sigmas[keep].astype(float) / unit,
        np.abs(found.boxes[keep] - truth) / unit,
        best[keep],
    )


def summarize(
    errors: SideErrors, with_deciles: bool = False
) -> list[SideSummary]:
    """A summary of each side and of all sides.

    Args:
        errors: Matched detections.
        with_deciles: Also a summary of each decile of sigma, of all sides.
    """
    found = [
        _summary(name, None, *errors.side(index))
        for index, name in [*enumerate(SIDES), (None, 'all')]
    ]
    return found + (by_decile(errors) if with_deciles else [])


def by_decile(errors: SideErrors) -> list[SideSummary]:
    """A summary of up to ten groups of equal size, of all sides, by sigma."""
    sigma, error, iou = errors.side(None)
    order = sigma.argsort(kind='stable')
    groups = np.array_split(order, max(1, min(10, len(order))))
    return [
        _summary('all', number, sigma[group], error[group], iou[group])
        for number, group in enumerate(groups, 1)
        if len(group)
    ]


def _summary(
    side: str,
    decile: int | None,
    sigma: np.ndarray,
    error: np.ndarray,
    iou: np.ndarray,
) -> SideSummary:
    mean_sigma, mean_error = _mean(sigma), _mean(error)
    return SideSummary(
        side=side,
        decile=decile,
        sides=len(sigma),
        mean_sigma=mean_sigma,
        mean_error=mean_error,
        ratio=mean_sigma * MEAN_ABS / mean_error if mean_error else np.nan,
        within_sigma=_mean(error <= sigma),
        error_correlation=_rank_correlation(sigma, error),
        mean_iou=_mean(iou),
        iou_correlation=_rank_correlation(sigma, iou),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import ConstantInputWarning, spearmanr

    if len(first) < 2:
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConstantInputWarning)  # gives NaN
        return float(spearmanr(first, second).statistic)
