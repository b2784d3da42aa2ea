"""Sampling-Free: guided losses, optimal biases, adaptive thresholds.

Chen et al., Is Heuristic Sampling Necessary in Training Deep Object
Detectors?, arXiv 1909.04868. Dimensions: B images, G ground truths, L levels,
P points, C classes, N candidates of all images.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_EPS = 1e-12


def guided_loss(
    loss_cls: Tensor,
    loss_reg: Tensor,
    scale: float = 1.0,
    totals: Tensor | None = None,
) -> Tensor:
    """The classification loss at the magnitude of the regression loss.

    ``w L_cls`` with the constant ``w = scale L_reg / L_cls``. Its value is
    ``scale L_reg``, its gradient that of ``L_cls`` times w; any factor of
    ``L_cls`` cancels. Without positives L_reg and so w is 0: negatives alone
    are not trained, as in the official code.

    Args:
        loss_cls: Scalar.
        loss_reg: Scalar, with its loss weight.
        scale: Weight of the classification loss: 1 for RetinaNet and the RPN,
            2 for Fast R-CNN.
        totals: (2,) L_cls and L_reg used for w instead, for example their
            means over processes.

    Returns:
        Tensor: Scalar.
    """
    with torch.no_grad():
        cls, reg = (loss_cls, loss_reg) if totals is None else totals.unbind()
        weight = scale * reg / cls.clamp(min=_EPS)
    return loss_cls * weight


def masked_sum(loss: Tensor, mask: Tensor) -> Tensor:
    """Sum of the rows of a loss.

    Args:
        loss: (N, ...) element-wise loss.
        mask: (N,) bool, the rows that count.

    Returns:
        Tensor: Scalar; NaN in a masked row doesn't reach it.
    """
    rows = mask.view(-1, *(1,) * (loss.dim() - 1))
    return loss.where(rows, 0).sum()


def sigmoid_bias(prior: float) -> float:
    """Bias that makes every class have the probability ``prior``.

    The initial loss of N candidates, N_f of them positive, is smallest for
    ``prior = N_f / (N C)``.

    Args:
        prior: Probability pi in (0, 1).

    Returns:
        float: -log((1 - pi) / pi).

    Raises:
        ValueError: ``prior`` is not in (0, 1).
    """
    check_prior(prior)
    return -math.log((1 - prior) / prior)


def softmax_background_bias(prior: float, num_classes: int) -> float:
    """Bias of the background logit, all others being 0.

    The C foreground classes together then have the probability ``prior``.
    The softmax form of the optimal bias; derived here, the official code
    sets no bias in the R-CNN head.

    Args:
        prior: N_f / N in (0, 1).
        num_classes: Number C of foreground classes.

    Returns:
        float: log(C (1 - prior) / prior).

    Raises:
        ValueError: ``prior`` is not in (0, 1).
    """
    check_prior(prior)
    return math.log(num_classes * (1 - prior) / prior)


def check_prior(prior: float, name: str = 'prior') -> None:
    """Raise a ValueError unless a probability is in (0, 1)."""
    if not 0 < prior < 1:
        raise ValueError(f'{name} must be in (0, 1), got {prior}')


@dataclass(frozen=True)
class PriorStatistics:
    """Positive and negative candidates of a dataset.

    Attributes:
        per_class: Number N_j of positives of each of the C classes.
        negatives: Number of negatives; ignored candidates don't count.
    """

    per_class: tuple[int, ...]
    negatives: int

    @property
    def positives(self) -> int:
        """Number N_f of positives of all classes."""
        return sum(self.per_class)

    @property
    def candidates(self) -> int:
        """Number N of positives and negatives."""
        return self.positives + self.negatives

    @property
    def foreground_ratio(self) -> float:
        """N_f / N; 0 without candidates."""
        return self.positives / max(1, self.candidates)

    @property
    def prior(self) -> float:
        """The optimal prior N_f / (N C) of each class."""
        return self.foreground_ratio / len(self.per_class)

    @property
    def global_threshold(self) -> float:
        """Score threshold of the official code for all classes.

        The prior times C + 1, the background counted as a class.
        """
        return self.prior * (len(self.per_class) + 1)

    @property
    def class_thresholds(self) -> tuple[float, ...]:
        """Score thresholds of the paper, N_f / N times N_j / N_f."""
        total = max(1, self.candidates)
        return tuple(count / total for count in self.per_class)


def read_class_thresholds(
    value: Sequence[float] | str | Path, num_classes: int
) -> tuple[float, ...]:
    """The score thresholds of the classes.

    Args:
        value: C thresholds, or a JSON file of ``prior_statistics.py``.
        num_classes: Number C of classes.

    Returns:
        tuple: C thresholds.

    Raises:
        ValueError: It is not C numbers in [0, 1], or no such file.
    """
    numbers: Sequence[float]
    if isinstance(value, str | Path):
        source = f' in {value}'
        try:
            numbers = json.loads(Path(value).read_text())['class_score_thr']
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                'class_score_thr must be numbers or a file of '
                f'prior_statistics, got {value}: {error}'
            ) from error
    else:
        source, numbers = '', value
    thresholds = tuple(float(x) for x in numbers)
    if len(thresholds) != num_classes:
        raise ValueError(
            f'class_score_thr{source} has {len(thresholds)} thresholds, '
            f'expected one for each of the {num_classes} classes'
        )
    if not all(0 <= x <= 1 for x in thresholds):
        raise ValueError(
            f'class_score_thr{source} must be in [0, 1], got {thresholds}'
        )
    return thresholds
