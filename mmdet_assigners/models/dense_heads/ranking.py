"""Base class of heads whose classification loss ranks all scores."""

from collections.abc import Sequence

import torch
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..checks import refuse_pos_weight
from ..losses.ranking_loss import RankingLoss


class RankingMixin:
    """Mixin before a dense head: checks, and a score threshold per level."""

    # of the head behind it
    loss_bbox: nn.Module
    loss_centerness: nn.Module
    loss_cls: nn.Module
    test_cfg: ConfigDict | None
    use_sigmoid_cls: bool

    def _check_ranking(self) -> None:
        name = type(self).__name__
        if not isinstance(self.loss_cls, RankingLoss):
            raise TypeError(
                f'loss_cls of {name} must be a ranking loss, APLoss or '
                f'DRLoss, got {type(self.loss_cls).__name__}'
            )
        if not self.use_sigmoid_cls:
            raise ValueError(
                f'loss_cls of {name} must have use_sigmoid=True, got '
                f'{type(self.loss_cls).__name__} without it'
            )
        refuse_pos_weight(self)

    def _predict_by_feat_single(
        self,
        cls_score_list: Sequence[Tensor],
        *args: object,
        cfg: ConfigDict | None = None,
        **kwargs: object,
    ) -> InstanceData:
        """Detections of an image; ``score_thr`` may have one value per level.

        Args:
            cls_score_list: L maps (A * C, H_l, W_l).
            *args: As in mmdet.
            cfg: Instead of ``test_cfg``.
            **kwargs: As in mmdet.

        Returns:
            InstanceData: bboxes (N, 4), scores and labels (N,).

        Raises:
            ValueError: Another number of thresholds than of levels.
        """
        cfg = ConfigDict(self.test_cfg if cfg is None else cfg)
        thresholds = cfg.get('score_thr', 0)
        if isinstance(thresholds, Sequence):
            if len(thresholds) != len(cls_score_list):
                raise ValueError(
                    'test_cfg.score_thr must be one number or one per level, '
                    f'{len(cls_score_list)}, got {thresholds}'
                )
            # logits below their threshold get score 0, which passes none
            cls_score_list = [
                logits.masked_fill(logits.sigmoid() <= thr, -torch.inf)
                for logits, thr in zip(cls_score_list, thresholds, strict=True)
            ]
            cfg.score_thr = min(thresholds)
        return super()._predict_by_feat_single(  # type: ignore[misc]
            cls_score_list, *args, cfg=cfg, **kwargs
        )

    def _centerness_losses(
        self,
        pred: Tensor,
        target: Tensor,
        factor: Tensor,
        central: Tensor,
        positive: Tensor,
        per_image: int,
        min_weight: float,
    ) -> dict[str, Tensor]:
        """Losses of box and centerness, normalized over all processes.

        Args:
            pred: (B, P, 4) what the box loss compares.
            target: (B, P, 4) with that.
            factor: (B, P) logits of the centerness.
            central: (B, P) centerness targets, weights of the box loss.
            positive: (B, P) bool.
            per_image: Minimum number of positives that an image counts.
            min_weight: Minimum sum of the weights.

        Returns:
            dict: Scalars ``loss_bbox`` and ``loss_centerness``.
        """
        # weighted below: given weights, some losses synchronize
        terms = self.loss_bbox(
            pred.where(positive[..., None], target).flatten(0, 1),
            target.flatten(0, 1),
            reduction_override='none',
        ).view(*positive.shape, -1)
        central = central * positive
        count = positive.sum(1).clamp(min=per_image).sum().to(central)
        norms = reduce_mean(torch.stack((count, central.sum())))
        box = weight_reduce_loss(terms.sum(-1), central, avg_factor=1.0)
        return dict(
            loss_bbox=box / norms[1].clamp(min=min_weight),
            loss_centerness=self.loss_centerness(
                factor.flatten(),
                central.flatten(),
                positive.to(central).flatten(),
                avg_factor=norms[0].clamp(min=1),
            ),
        )
