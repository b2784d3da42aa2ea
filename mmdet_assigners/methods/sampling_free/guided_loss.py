"""Sampling-Free's pieces of dense heads: prior, guide, class thresholds."""

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.losses import CrossEntropyLoss
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from . import functional as sampling_free


def prior_init(name: str, prior: float) -> dict:
    """Initialization N(0, 0.01) with the optimal bias of one layer.

    Args:
        name: Of the layer that classifies.
        prior: Initial probability of each class, in (0, 1).

    Returns:
        dict: An ``init_cfg``.

    Raises:
        ValueError: ``prior`` is not in (0, 1).
    """
    sampling_free.check_prior(prior, 'prior_prob')
    override = dict(type='Normal', name=name, std=0.01, bias_prob=prior)
    return dict(type='Normal', layer='Conv2d', std=0.01, override=override)


def guide(
    loss_cls: Tensor, loss_reg: Tensor, scale: float, sync: bool
) -> Tensor:
    """Guided classification loss.

    Args:
        loss_cls: Scalar of this process.
        loss_reg: Scalar of this process.
        scale: Weight of the classification loss.
        sync: The ratio comes from the means over the processes.

    Returns:
        Tensor: Scalar.
    """
    totals = None
    if sync:
        totals = reduce_mean(torch.stack((loss_cls, loss_reg)).detach())
    return sampling_free.guided_loss(loss_cls, loss_reg, scale, totals)


class SamplingFreeMixin(BaseDenseHead):
    """Guided losses and class thresholds of dense heads."""

    guided: bool
    sync: bool

    def _set_guide(self, guided: bool, sync: bool) -> None:
        self.guided = guided
        self.sync = sync
        loss = self.loss_cls
        if not isinstance(loss, CrossEntropyLoss) or not loss.use_sigmoid:
            raise TypeError(
                f'{type(self).__name__} needs loss_cls=dict(type='
                "'CrossEntropyLoss', use_sigmoid=True), got "
                f'{type(loss).__name__}'
            )
        if loss.class_weight is not None:
            raise ValueError(
                f'{type(self).__name__} knows no loss_cls.class_weight, got '
                f'{loss.class_weight}'
            )

    def class_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy (N, C) of logits (N, C) against labels (N,).

        Labels outside [0, C) are background.
        """
        classes = torch.arange(logits.shape[1], device=logits.device)
        target = (labels[:, None] == classes).to(logits)
        loss = F.binary_cross_entropy_with_logits(
            logits, target, reduction='none'
        )
        return self.loss_cls.loss_weight * loss

    def guided_losses(
        self, loss_cls: Tensor, loss_reg: Tensor
    ) -> dict[str, Tensor]:
        """The two scalar losses by name; ``loss_cls.loss_weight`` scales."""
        if self.guided:
            scale = self.loss_cls.loss_weight
            loss_cls = guide(loss_cls, loss_reg, scale, self.sync)
        return dict(loss_cls=loss_cls, loss_bbox=loss_reg)

    def _predict_by_feat_single(
        self, *args: object, cfg: ConfigDict | None = None, **kwargs: object
    ) -> InstanceData:
        """One image; ``class_score_thr`` replaces ``score_thr``."""
        cfg = self.test_cfg if cfg is None else cfg
        value = cfg.get('class_score_thr')
        if value is not None:
            thresholds = sampling_free.read_class_thresholds(
                value, self.num_classes
            )
            device = next(self.parameters()).device
            cfg = ConfigDict(cfg)
            cfg['score_thr'] = torch.tensor(thresholds, device=device)
        return super()._predict_by_feat_single(*args, cfg=cfg, **kwargs)
