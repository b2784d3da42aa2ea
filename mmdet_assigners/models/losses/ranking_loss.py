"""Base class of losses that rank all scores of a batch."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from .weighted_loss import check_sigmoid


class RankingLoss(nn.Module):
    """Base class of ranking losses; a subclass writes :meth:`rank`.

    A ranking loss needs all levels of an image in one call. Use it in
    ``RankingRetinaHead``, ``RankingFCOSHead`` or ``RankingATSSHead``; mmdet's
    anchor heads call their loss once per level.

    Args:
        per_image: Rank each image separately and average the losses;
            otherwise all images of a process form one list. Processes are
            never ranked together.
        use_sigmoid: Must be True; heads read it.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: ``use_sigmoid`` is False.
    """

    def __init__(
        self,
        per_image: bool,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_sigmoid(self, use_sigmoid)
        self.per_image = per_image
        self.use_sigmoid = use_sigmoid
        self.loss_weight = loss_weight

    @abstractmethod
    def rank(self, pred: Tensor, target: Tensor, ignored: Tensor) -> Tensor:
        """Loss of each list; a subclass writes it.

        Args:
            pred: (B, P, C) logits of B lists, float32 or finer.
            target: (B, P) int64 classes, C for background.
            ignored: (B, P) bool, candidates that are excluded.

        Returns:
            Tensor: (B,), one loss per list.
        """

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss, in float32 or finer.

        Args:
            pred: (B, P, C) logits; (P, C) is one list.
            target: (B, P) or (P,) classes, C for background.
            weight: (B, P) or (P,); 0 ignores a candidate, all else counts
                as 1.
            avg_factor: Must be None, the loss of a list is normalized
                already. Heads that call their loss once per level give one.
            reduction_override: Must be None, there is no loss per candidate.

        Returns:
            Tensor: Scalar.

        Raises:
            TypeError: ``avg_factor`` is given.
            ValueError: Shapes don't fit, or ``reduction_override`` is given.
        """
        if avg_factor is not None:
            raise TypeError(
                f'{type(self).__name__} ranks all levels in one call and '
                'takes no avg_factor: use it in RankingRetinaHead, '
                'RankingFCOSHead or RankingATSSHead'
            )
        if reduction_override is not None:
            raise ValueError(
                'reduction_override must be None: a ranking loss is one '
                f'number, got {reduction_override!r}'
            )
        if pred.dim() not in (2, 3) or target.shape != pred.shape[:-1]:
            raise ValueError(
                'pred and target must be of shapes (B, P, C) and (B, P) or '
                f'(P, C) and (P,), got {tuple(pred.shape)} and '
                f'{tuple(target.shape)}'
            )
        if weight is not None and weight.shape != target.shape:
            raise ValueError(
                f'weight must be of the shape of target, '
                f'{tuple(target.shape)}, got {tuple(weight.shape)}'
            )
        ignored = torch.zeros_like(target, dtype=torch.bool)
        if weight is not None:
            ignored = weight == 0
        if not self.per_image or pred.dim() == 2:
            pred = pred.reshape(1, -1, pred.shape[-1])
            target, ignored = target.reshape(1, -1), ignored.reshape(1, -1)
        with torch.autocast(pred.device.type, enabled=False):
            pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
            loss = self.rank(pred, target, ignored)
        return self.loss_weight * loss.mean()
