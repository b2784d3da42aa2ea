"""RetinaNet's head for every assigner of the package."""

from mmdet.models.dense_heads import RetinaHead
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..checks import check_delta_loss
from .flat_head import FlatBatch, FlatLossMixin, refuse_sampling


class FlatRetinaLossMixin(FlatLossMixin):
    """Batched losses of RetinaNet, before a head with its outputs.

    Raises:
        ValueError: ``train_cfg.sampler`` samples.
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """

    # of the AnchorHead behind it
    loss_bbox: nn.Module
    loss_cls: nn.Module
    reg_decoded_bbox: bool

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        refuse_sampling(self)
        check_delta_loss(self)

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: ``loss_cls`` and ``loss_bbox``, scalars.
        """
        gt = self.assign_flat(flat).gt
        positive = gt >= 0
        avg_factor = self.count_positives(positive).to(flat.cls)
        loss_cls = self.class_loss(flat, gt, avg_factor)
        target = self.matched_boxes(flat, gt)
        if self.reg_decoded_bbox:
            pred = self.decode(flat).where(positive[..., None], target)
        else:
            pred, target = flat.deltas, self.encode(flat, target)
        # weighted below: given weights, some losses synchronize
        terms = self.loss_bbox(
            pred.flatten(0, 1),
            target.flatten(0, 1),
            reduction_override='none',
        ).view(*gt.shape, -1)
        loss_bbox = weight_reduce_loss(
            terms, positive[..., None].to(terms), avg_factor=avg_factor
        )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    def count_positives(self, positive: Tensor) -> Tensor:
        """The normalizer of both losses, at least 1.

        Args:
            positive: (B, P) bool.

        Returns:
            Tensor: Scalar; each image counts at least one, as in mmdet.
        """
        return positive.sum(1).clamp(min=1).sum()

    def class_loss(
        self, flat: FlatBatch, gt: Tensor, avg_factor: Tensor
    ) -> Tensor:
        """Classification loss of a batch.

        Args:
            flat: Predictions, anchors and ground truths.
            gt: (B, P) ground truth of each anchor.
            avg_factor: Scalar of :meth:`count_positives`.

        Returns:
            Tensor: Scalar.
        """
        return self.loss_cls(
            flat.cls.flatten(0, 1),
            self.matched_labels(flat, gt).flatten(),
            self.label_weights(flat, gt).flatten(),
            avg_factor=avg_factor,
        )


@MODELS.register_module()
class FlatRetinaHead(FlatRetinaLossMixin, RetinaHead):
    """RetinaNet's head with batched targets and losses.

    The losses are those of mmdet's ``RetinaHead`` (equal up to the order of
    summation), for any assigner: those of this package also get the level
    sizes and the predictions, so the assignment of another detector can be
    used in RetinaNet. No random sampling. With an assigner of this package
    the loss path does not synchronize with the device.

    Takes the arguments of ``RetinaHead``.

    Raises:
        ValueError: ``train_cfg.sampler`` samples.
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """
