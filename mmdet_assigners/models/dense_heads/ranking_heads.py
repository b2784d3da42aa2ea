"""RetinaNet, FCOS and ATSS whose classification loss ranks all scores.

AP-loss, CVPR 2019, arXiv 1904.06373, and DR Loss, CVPR 2020, arXiv
1907.10156, put all scores of an image or a batch into one loss.
"""

from mmdet.models.dense_heads import ATSSHead, FCOSHead
from mmdet.registry import MODELS
from torch import Tensor

from ...ops.anchor_match import IGNORED, gather_gts
from ...ops.anchor_points import box_distances, centerness
from ..checks import check_delta_loss
from ..task_modules.assigners._base import BatchAssigner
from .flat_head import FlatBatch, FlatLossMixin, refuse_sampling
from .flat_points import FlatPoints, FlatPointsMixin
from .flat_retina_head import FlatRetinaHead
from .ranking import RankingMixin


@MODELS.register_module()
class RankingRetinaHead(RankingMixin, FlatRetinaHead):
    """RetinaNet's head under ``APLoss`` or ``DRLoss``.

    Towards Accurate One-Stage Object Detection with AP-Loss, CVPR 2019, arXiv
    1904.06373; DR Loss: Improving Object Detection by Distributional Ranking,
    CVPR 2020, arXiv 1907.10156. One call of the loss sees the scores of all
    levels and images of the process. The box loss is divided by the number of
    positives of the process, at least 1; both official codes use the gradient
    of a quarter of it, ``loss_weight=0.25`` (AP-loss logs four times that).

    ``test_cfg.score_thr`` may be a list with one value per level, as the
    official AP-loss has it.

    Differences from the official code, and the options that restore it: the
    best anchor of an object is assigned to that object (``low_quality='own'``
    of ``BatchMaxIoUAssigner``: to the object of its own best IoU); anchor
    centers are those of the anchor generator (``center_offset=0.5``: half a
    stride). The official corners are inclusive, which makes no difference:
    with exclusive ones, a pixel further, its deltas and IoUs are mmdet's.

    Args:
        *args: Of ``RetinaHead``.
        **kwargs: Of ``RetinaHead``. ``loss_cls`` must be ``APLoss`` or
            ``DRLoss`` with ``use_sigmoid=True``.

    Raises:
        TypeError: ``loss_cls`` is of another type.
        ValueError: It has ``use_sigmoid=False``, or
            ``train_cfg.sampler`` samples.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._check_ranking()

    def count_positives(self, positive: Tensor) -> Tensor:
        """The normalizer of the box loss.

        Args:
            positive: (B, P) bool.

        Returns:
            Tensor: Scalar, at least 1 for the batch.
        """
        return positive.sum().clamp(min=1)

    def class_loss(
        self, flat: FlatBatch, gt: Tensor, avg_factor: Tensor
    ) -> Tensor:
        """The ranking loss of a batch.

        Args:
            flat: Predictions, anchors and ground truths.
            gt: (B, P) ground truth of each anchor.
            avg_factor: Scalar, not used.

        Returns:
            Tensor: Scalar.
        """
        return _ranked(self, flat, gt)


@MODELS.register_module()
class RankingATSSHead(RankingMixin, FlatLossMixin, ATSSHead):
    """ATSS' head under ``APLoss`` or ``DRLoss``; not in the papers.

    All but the classification loss is mmdet's ``ATSSHead``, batched. See
    :class:`RankingRetinaHead`.

    Args:
        *args: Of ``ATSSHead``.
        **kwargs: Of ``ATSSHead``. ``loss_cls`` must be ``APLoss`` or
            ``DRLoss`` with ``use_sigmoid=True``; the assigner must be one
            of this package, such as ``BatchATSSAssigner``.

    Raises:
        TypeError: ``loss_cls`` is of another type, or ``loss_bbox`` is an IoU
            loss without ``reg_decoded_bbox``.
        ValueError: It has ``use_sigmoid=False``, the assigner is
            not of this package, or ``train_cfg.sampler`` samples.
    """

    out_names = ('cls_scores', 'bbox_preds', 'centernesses')

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._check_ranking()
        refuse_sampling(self)
        check_delta_loss(self)
        assigner = getattr(self, 'assigner', None)
        if assigner is not None and not isinstance(assigner, BatchAssigner):
            raise ValueError(
                'train_cfg.assigner must be one of mmdet_assigners, such as '
                f'BatchATSSAssigner, got {type(assigner).__name__}'
            )

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths; the logits of the
                centerness (B, P, 1) are the first of ``others``.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and ``loss_centerness``, scalars.
        """
        gt = self.assign_flat(flat).gt
        target = self.matched_boxes(flat, gt)
        centers = (flat.anchors[:, :2] + flat.anchors[:, 2:]) / 2
        central = centerness(box_distances(centers, target))
        if self.reg_decoded_bbox:
            pred = self.decode(flat)
        else:
            pred, target = flat.deltas, self.encode(flat, target)
        losses = self._centerness_losses(
            pred, target, flat.others[0][..., 0], central, gt >= 0, 1, 1.0
        )
        return dict(loss_cls=_ranked(self, flat, gt), **losses)


@MODELS.register_module()
class RankingFCOSHead(RankingMixin, FlatPointsMixin, FCOSHead):
    """FCOS' head under ``APLoss`` or ``DRLoss``; not in the papers.

    All but the classification loss is mmdet's ``FCOSHead``, batched. See
    :class:`RankingRetinaHead`.

    Args:
        *args: Of ``FCOSHead``.
        **kwargs: Of ``FCOSHead``. ``loss_cls`` must be ``APLoss`` or
            ``DRLoss`` with ``use_sigmoid=True``.

    Raises:
        TypeError: ``loss_cls`` is of another type.
        ValueError: It has ``use_sigmoid=False``.
    """

    assignment_uses_predictions = False

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._check_ranking()

    def loss_flat(self, flat: FlatPoints) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and ``loss_centerness``, scalars.
        """
        gt = self.assign_flat(flat)
        positive = gt >= 0
        xy = flat.points.xy
        ltrb = box_distances(xy, gather_gts(flat.boxes, gt))
        # background points get a box of side 2, finite and unused
        target = ltrb.where(positive[..., None], 1)
        central = centerness(target)
        if self.norm_on_bbox:
            target = target / flat.points.stride[:, None]
        pred = flat.reg.where(positive[..., None], target)
        xy = xy.expand(len(gt), -1, -1)
        losses = self._centerness_losses(
            self.bbox_coder.decode(xy, pred),
            self.bbox_coder.decode(xy, target),
            flat.factor,
            central,
            positive,
            0,
            1e-6,
        )
        labels = gather_gts(flat.labels, gt).where(positive, self.num_classes)
        return dict(loss_cls=self.loss_cls(flat.cls, labels), **losses)


def _ranked(
    head: RankingRetinaHead | RankingATSSHead, flat: FlatBatch, gt: Tensor
) -> Tensor:
    labels = head.matched_labels(flat, gt)
    return head.loss_cls(flat.cls, labels, (gt != IGNORED).to(flat.cls))
