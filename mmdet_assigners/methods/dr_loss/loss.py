"""DR loss as a registered loss."""

from mmdet.registry import MODELS
from torch import Tensor

from ...models.losses.ranking_loss import RankingLoss
from . import functional as dr_loss


@MODELS.register_module()
class DRLoss(RankingLoss):
    """Distributional ranking loss.

    DR Loss: Improving Object Detection by Distributional Ranking, CVPR 2020,
    arXiv 1907.10156; formula in :func:`~.functional.dr_loss`. Background
    scores are pushed up and foreground scores down to the worst distributions
    near the uniform one, and the two expected scores must be ranked with a
    margin. It is O(1), not divided by the number of positives: 2.03 where all
    probabilities are 0.5, as with the official bias of 0.

    The paper defines the loss per image. The official module is one list for
    whatever it gets: ``per_image=False``, all images of the process.

    Args:
        margin: Margin of the ranking; 0.5.
        pos_lambda: Temperature of the foreground distribution; 1.
        neg_lambda: Temperature of the background distribution;
            0.1 / log(3.5).
        L: Smoothness of the logistic hinge; 6.
        tau: Weight against the box loss; 4.
        per_image: Mean of the losses of the images.
        use_sigmoid: Must be True.
        loss_weight: Further factor of the loss.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        margin: float = 0.5,
        pos_lambda: float = 1.0,
        neg_lambda: float = dr_loss.NEG_LAMBDA,
        L: float = 6.0,
        tau: float = 4.0,
        per_image: bool = True,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(per_image, use_sigmoid, loss_weight)
        self.options = dict(
            pos_lambda=pos_lambda, neg_lambda=neg_lambda, L=L, tau=tau
        )
        for name, value in self.options.items():
            if not value > 0:
                raise ValueError(f'{name} must be positive, got {value}')
        self.options['margin'] = margin

    def rank(self, pred: Tensor, target: Tensor, ignored: Tensor) -> Tensor:
        """Loss of lists.

        Args:
            pred: (B, P, C) logits.
            target: (B, P) classes, C for background.
            ignored: (B, P) bool.

        Returns:
            Tensor: (B,).
        """
        return dr_loss.dr_loss(pred, target, ignored, **self.options)
