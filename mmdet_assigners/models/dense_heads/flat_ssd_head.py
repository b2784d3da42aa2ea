"""SSD's head for every assigner of the package."""

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import SSDHead
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor

from .flat_head import FlatBatch, FlatLossMixin, refuse_sampling


@MODELS.register_module()
class FlatSSDHead(FlatLossMixin, SSDHead):
    """SSD's head with batched targets and losses.

    The losses are those of mmdet's ``SSDHead``, summed over the images (equal
    up to the order of summation), for any assigner. With an assigner of this
    package the loss path does not synchronize with the device. mmdet 3.3's
    own ``SSDHead`` trains, but fails when it predicts, because it has no
    ``loss_cls``.

    Takes the arguments of ``SSDHead``; ``neg_pos_ratio`` and
    ``smoothl1_beta`` of ``train_cfg`` are used.

    Raises:
        ValueError: ``train_cfg.sampler`` samples.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.loss_cls = MODELS.build(dict(type='CrossEntropyLoss'))
        refuse_sampling(self)

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: ``loss_cls`` and ``loss_bbox``, scalars.
        """
        gt = self.assign_flat(flat).gt
        positive = gt >= 0
        # each image counts at least one, as in mmdet
        count = positive.sum(1).clamp(min=1).sum().to(flat.cls)
        target = self.matched_boxes(flat, gt)
        if self.reg_decoded_bbox:
            pred = self.decode(flat).where(positive[..., None], target)
        else:
            pred, target = flat.deltas, self.encode(flat, target)
        box = F.smooth_l1_loss(
            pred,
            target,
            reduction='none',
            beta=(self.train_cfg or {}).get('smoothl1_beta', 1.0),
        )
        return dict(
            loss_cls=self.class_loss(flat, gt, count),
            loss_bbox=weight_reduce_loss(
                box, positive[..., None], avg_factor=count
            ),
        )

    def class_loss(
        self, flat: FlatBatch, gt: Tensor, avg_factor: Tensor
    ) -> Tensor:
        """Cross entropy of the positives and of the hardest negatives.

        Args:
            flat: Predictions, anchors and ground truths.
            gt: (B, P) ground truth of each anchor.
            avg_factor: Number of positives.

        Returns:
            Tensor: Scalar.
        """
        positive = gt >= 0
        loss = F.cross_entropy(
            flat.cls.transpose(1, 2),
            self.matched_labels(flat, gt),
            reduction='none',
        ) * self.label_weights(flat, gt)
        hardest = loss.masked_fill(positive, 0).sort(1, descending=True)[0]
        ratio = (self.train_cfg or {}).get('neg_pos_ratio', 3)
        rank = torch.arange(loss.shape[1], device=loss.device)
        mined = rank < ratio * positive.sum(1, keepdim=True)
        total = (loss * positive).sum() + (hardest * mined).sum()
        return total / avg_factor
