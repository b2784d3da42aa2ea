"""Detections whose boxes know their uncertainty, against the truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from .samples import build_model, load_sample

SIDES = ('x1', 'y1', 'x2', 'y2')
# E|e| of a Gaussian of standard deviation 1
_MEAN_ABS = np.sqrt(2 / np.pi)


@dataclass(frozen=True)
class Detections:
    """Detections of one image, in pixels of the file, best score first.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2.
        sigmas: (N, 4) standard deviations of the sides.
        scores: (N,).
        labels: (N,) classes.
    """

    boxes: np.ndarray
    sigmas: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def best(self, score_thr: float, limit: int | None = None) -> 'Detections':
        """Those of at least a score, at most ``limit``."""
        keep = np.flatnonzero(self.scores >= score_thr)[:limit]
        return Detections(
            self.boxes[keep],
            self.sigmas[keep],
            self.scores[keep],
            self.labels[keep],
        )


@dataclass(frozen=True)
class SideErrors:
    """Matched detections: what was said and what came true.

    Attributes:
        sigma: (N, 4) predicted standard deviation of each side.
        error: (N, 4) absolute distance of each side from the truth.
        iou: (N,) of the boxes.
    """

    sigma: np.ndarray
    error: np.ndarray
    iou: np.ndarray

    @classmethod
    def join(cls, parts: 'list[SideErrors]') -> 'SideErrors':
        """All of several images."""
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
        """Sigma, error and IoU of a side, of all sides if None."""
        if index is None:
            sides = self.sigma.shape[1]
            return (
                self.sigma.ravel(),
                self.error.ravel(),
                np.repeat(self.iou, sides),
            )
        return self.sigma[:, index], self.error[:, index], self.iou


class UncertainDetector:
    """A detector of a config whose detections carry ``box_sigmas``.

    Args:
        title: Name of the config.
        cfg: The config.
        checkpoint: Weights; random ones if None.
        seed: For random weights.
        device: Where it runs.

    Raises:
        ValueError: The checkpoint doesn't fit.
    """

    def __init__(
        self,
        title: str,
        cfg: Config,
        checkpoint: str | Path | None = None,
        seed: int = 0,
        device: str = 'cpu',
    ) -> None:
        self.title = title
        self.cfg = cfg
        self.untrained = checkpoint is None
        self.model = build_model(cfg, checkpoint, seed).to(device).eval()

    @torch.no_grad()
    def detect(self, info: dict[str, Any]) -> Detections:
        """Detections in an image.

        Args:
            info: Record of the image, see :func:`samples.find_image`.

        Raises:
            TypeError: The detections carry no ``box_sigmas``.
        """
        data = load_sample(self.cfg, info)
        data = self.model.data_preprocessor(data, False)
        found = self.model(**data, mode='predict')[0].pred_instances
        if 'box_sigmas' not in found:
            raise TypeError(
                f'{self.title}: the detections of {_head(self.model)} carry '
                'no box_sigmas, the standard deviations of the sides; give a '
                'config that predicts uncertainty, such as '
                'gfl-ablation_r50_fpn_1x_coco, which also takes the weights '
                "of mmdet's GFL"
            )
        order = found.scores.argsort(descending=True, stable=True)
        found = found[order].cpu().numpy()
        return Detections(
            found.bboxes, found.box_sigmas, found.scores, found.labels
        )


def _head(model: nn.Module) -> str:
    roi_head = getattr(model, 'roi_head', None)
    owner = model if roi_head is None else roi_head
    head = getattr(owner, 'bbox_head', None)
    return type(owner if head is None else head).__name__


def objects_of(info: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (G, 4) and labels (G,) of an image, without crowds.

    Args:
        info: Record of the image; pixels of the file.
    """
    own = [i for i in info['instances'] if not i['ignore_flag']]
    boxes = np.array([i['bbox'] for i in own], dtype=float).reshape(-1, 4)
    return boxes, np.array([i['bbox_label'] for i in own], dtype=int)


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (N, G) of boxes (N, 4) and (G, 4); 0 where there is no area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(-1)
    areas = [
        np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
        for boxes in (first, second)
    ]
    union = areas[0][:, None] + areas[1][None] - overlap
    return overlap / np.maximum(union, np.finfo(float).tiny)


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
        boxes: (G, 4) objects.
        labels: (G,) their classes.
        iou_thr: Least IoU of a match.
        relative: Divide sigma and error by the width of the object (x1, x2)
            or its height (y1, y2).

    Returns:
        SideErrors: Of the matched detections.
    """
    if not len(boxes) or not len(found.boxes):
        return SideErrors.join([])
    iou = box_iou(found.boxes.astype(float), boxes)
    iou[found.labels[:, None] != labels[None]] = -1
    index = iou.argmax(1)
    best = iou.max(1)
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


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation; ties share their mean rank.

    Returns:
        float: In [-1, 1]; NaN with fewer than two values or equal ones.
    """
    if len(first) < 2:
        return float('nan')
    ranks = [_ranks(x) for x in (first, second)]
    deviations = [rank - rank.mean() for rank in ranks]
    norm = np.sqrt(np.prod([np.square(d).sum() for d in deviations]))
    if norm == 0:
        return float('nan')
    return float((deviations[0] * deviations[1]).sum() / norm)


def _ranks(values: np.ndarray) -> np.ndarray:
    _, index, counts = np.unique(
        values, return_inverse=True, return_counts=True
    )
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[index]


def deciles(
    sigma: np.ndarray, error: np.ndarray, iou: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The same values in up to ten groups of equal size, by sigma."""
    order = sigma.argsort(kind='stable')
    parts = np.array_split(order, min(10, len(order)) or 1)
    return [(sigma[p], error[p], iou[p]) for p in parts if len(p)]


def calibration(sigma: np.ndarray, error: np.ndarray) -> float:
    """Mean sigma over the sigma of Gaussian errors of this mean.

    Returns:
        float: 1 if calibrated, more if sigma is over-estimated, NaN without
        errors.
    """
    mean = error.mean() if len(error) else 0.0
    return float(sigma.mean() * _MEAN_ABS / mean) if mean else float('nan')


def table_lines(
    title: str, errors: SideErrors, with_deciles: bool = False
) -> list[dict[str, str]]:
    """Lines of the table, column -> text: each side, all of them, deciles.

    Args:
        title: Name of the config.
        errors: Its matched detections.
        with_deciles: Also a line per decile of sigma, of all sides.
    """
    lines = []
    for index, name in [*enumerate(SIDES), (None, 'all')]:
        values = errors.side(index)
        lines.append(_line(title, name, 'all', *values))
    if with_deciles:
        parts = deciles(*errors.side(None))
        for number, values in enumerate(parts, 1):
            lines.append(_line(title, 'all', str(number), *values))
    return lines


def _line(
    title: str,
    side: str,
    decile: str,
    sigma: np.ndarray,
    error: np.ndarray,
    iou: np.ndarray,
) -> dict[str, str]:
    count = len(sigma)
    numbers = {
        'mean sigma': sigma.mean() if count else np.nan,
        'mean error': error.mean() if count else np.nan,
        'ratio': calibration(sigma, error),
        'within sigma %': 100 * np.mean(error <= sigma) if count else np.nan,
        'rank corr. error': spearman(sigma, error),
        'mean IoU': iou.mean() if count else np.nan,
        'rank corr. IoU': spearman(sigma, iou),
    }
    text = {
        key: '-' if np.isnan(value) else f'{value:#.3g}'
        for key, value in numbers.items()
    }
    return {
        'config': title,
        'side': side,
        'decile': decile,
        'count': str(count),
        **text,
    }
