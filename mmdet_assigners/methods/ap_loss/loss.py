"""AP-loss as a registered loss."""

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ...models.losses.ranking_loss import RankingLoss
from . import functional as ap_loss


@MODELS.register_module()
class APLoss(RankingLoss):
    """One minus the average precision of all scores.

    Towards Accurate One-Stage Object Detection with AP-Loss, CVPR 2019, arXiv
    1904.06373. All (anchor, class) scores of the images of a process are one
    ranked list: an anchor's class is a positive, its other classes and all
    classes of background are negatives. The gradient is the error-driven
    update of :func:`~.functional.ap_loss`, evaluated exactly in time O((P + N)
    log P), where the official code loops over the positives.

    The official code is followed: a step of finite width (the paper first
    writes an exact one), interpolated precision, and no ranking across GPUs.
    Without any positive the loss and its gradient are 0.

    Args:
        delta: Half the width of the step in logits; 1.
        interpolate: Use the interpolated precision, as in the official code.
        per_image: Rank each image by itself; the official code
            ranks the images of a GPU together.
        use_sigmoid: Must be True.
        loss_weight: Factor of the loss; 1.

    Raises:
        ValueError: ``delta`` isn't positive or ``use_sigmoid`` is False.
    """

    def __init__(
        self,
        delta: float = 1.0,
        interpolate: bool = True,
        per_image: bool = False,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(per_image, use_sigmoid, loss_weight)
        if not delta > 0:
            raise ValueError(f'delta must be positive, got {delta}')
        self.delta = delta
        self.interpolate = interpolate

    def rank(self, pred: Tensor, target: Tensor, ignored: Tensor) -> Tensor:
        """Loss of lists.

        Args:
            pred: (B, P, C) logits.
            target: (B, P) classes, C for background.
            ignored: (B, P) bool.

        Returns:
            Tensor: (B,).
        """
        classes = torch.arange(pred.shape[2], device=pred.device)
        targets = (target[..., None] == classes).to(torch.int8)
        targets = targets.masked_fill_(ignored[..., None], ap_loss.IGNORED)
        # the number of positives differs between lists
        return torch.stack(
            [
                ap_loss.ap_loss(
                    logits.flatten(), own, self.delta, self.interpolate
                )
                for logits, own in zip(pred, targets.flatten(1), strict=True)
            ]
        )
