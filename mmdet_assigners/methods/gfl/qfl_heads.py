"""Quality Focal Loss under RetinaNet, SSD and FoveaBox.

Generalized Focal Loss, NeurIPS 2020, arXiv 2006.04388, table 1b: the
classification loss is exchanged for QFL, whose label is the IoU of the
decoded box, without gradient, with its ground truth.
"""

import torch
from mmdet.models.dense_heads import FoveaHead
from mmdet.models.losses import FocalLoss
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ...models.dense_heads.flat_head import FlatBatch
from ...models.dense_heads.flat_points import FlatPoints, FlatPointsMixin
from ...models.dense_heads.flat_retina_head import FlatRetinaHead
from ...models.dense_heads.flat_ssd_head import FlatSSDHead
from ...ops.anchor_match import gather_gts
from ...ops.anchor_points import box_distances, distance_iou
from .fovea import assign_fovea

_QFL = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0)
_INIT = dict(
    type='Xavier',
    layer='Conv2d',
    distribution='uniform',
    bias=0,
    override=dict(
        type='Xavier',
        name='cls_convs',
        distribution='uniform',
        bias_prob=0.01,
    ),
)


@MODELS.register_module()
class QFLRetinaHead(FlatRetinaHead):
    """RetinaNet whose class score is the IoU of its box.

    Generalized Focal Loss, NeurIPS 2020, arXiv 2006.04388, table 1b. Network,
    assignment and box loss are RetinaNet's. Losses are batched; the
    normalizer is the number of positives, as before.

    Takes the arguments of ``RetinaHead``; ``loss_cls`` takes (labels,
    scores): ``QualityFocalLoss`` or ``GeneralizedFocalLoss``.

    Raises:
        ValueError: ``loss_cls`` is a focal loss of labels, or
            ``train_cfg.sampler`` samples.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        _need_scores(self.loss_cls)

    def class_loss(
        self, flat: FlatBatch, gt: Tensor, avg_factor: Tensor
    ) -> Tensor:
        """QFL of a batch.

        Args:
            flat: Predictions, anchors and ground truths.
            gt: (B, P) ground truth of each anchor.
            avg_factor: Number of positives.

        Returns:
            Tensor: Scalar.
        """
        return _quality_loss(self, flat, gt, avg_factor)


@MODELS.register_module()
class QFLSSDHead(FlatSSDHead):
    """SSD with sigmoid scores that are the IoU of its boxes.

    Generalized Focal Loss, NeurIPS 2020, arXiv 2006.04388, table 1b. No
    background class, and no mining of hard negatives: QFL weighs easy ones
    down itself (assumed, the paper doesn't say). Classification starts with
    the prior 0.01. Losses are batched and divided by the number of positives,
    each image counting at least one.

    Args:
        num_classes: Number C of classes.
        loss_cls: Takes (labels, scores).
        init_cfg: Initialization.
        **kwargs: Further arguments of ``SSDHead``. ``smoothl1_beta`` of
            ``train_cfg`` is used, ``neg_pos_ratio`` isn't.

    Raises:
        ValueError: ``loss_cls`` is a focal loss of labels, or
            ``train_cfg.sampler`` samples.
    """

    def __init__(
        self,
        num_classes: int = 80,
        loss_cls: dict = _QFL,
        init_cfg: dict | list = _INIT,
        **kwargs: object,
    ) -> None:
        super().__init__(num_classes, init_cfg=init_cfg, **kwargs)
        self.loss_cls = MODELS.build(loss_cls)
        self.use_sigmoid_cls = True
        _need_scores(self.loss_cls)

    def _init_layers(self) -> None:
        self.cls_out_channels = self.num_classes  # no background
        super()._init_layers()

    def class_loss(
        self, flat: FlatBatch, gt: Tensor, avg_factor: Tensor
    ) -> Tensor:
        """QFL of a batch.

        Args:
            flat: Predictions, anchors and ground truths.
            gt: (B, P) ground truth of each anchor.
            avg_factor: Number of positives.

        Returns:
            Tensor: Scalar.
        """
        return _quality_loss(self, flat, gt, avg_factor)


@MODELS.register_module()
class QFLFoveaHead(FlatPointsMixin, FoveaHead):
    """FoveaBox whose class score is the IoU of its box.

    Generalized Focal Loss, NeurIPS 2020, arXiv 2006.04388, table 1b. Network,
    positives and box loss are those of mmdet's ``FoveaHead``; targets and
    losses are batched and normalizers are means over processes. Without any
    positive the box loss stays in the graph.

    Takes the arguments of ``FoveaHead``; ``loss_cls`` takes (labels, scores):
    ``QualityFocalLoss`` or ``GeneralizedFocalLoss``.

    Raises:
        ValueError: ``loss_cls`` is a focal loss of labels.
    """

    assignment_uses_predictions = False
    out_names = ('cls_scores', 'bbox_preds')

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        _need_scores(self.loss_cls)

    def assign_flat(self, flat: FlatPoints) -> Tensor:
        """FoveaBox's positives.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            Tensor: (B, P) int64 index of the ground truth, -1 without one.
        """
        return assign_fovea(
            flat.points, flat.boxes, flat.mask, self.scale_ranges, self.sigma
        )

    def loss_flat(self, flat: FlatPoints) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions (B, P, C) and logarithms of distances in units
                of the level's edge (B, P, 4), points and ground truths.

        Returns:
            dict: ``loss_cls`` and ``loss_bbox``, scalars.
        """
        gt = self.assign_flat(flat)
        positive = gt >= 0
        labels = gather_gts(flat.labels, gt).where(positive, self.num_classes)
        edges = flat.reg.new_tensor(self.base_edge_list)[flat.points.level]
        ltrb = box_distances(flat.points.xy, gather_gts(flat.boxes, gt))
        ltrb = (ltrb / edges[:, None]).where(positive[..., None], 1)
        pred = flat.reg.where(positive[..., None], 0)
        iou = distance_iou(pred.detach().exp(), ltrb.clamp(min=0)) * positive
        count = reduce_mean(positive.sum().to(pred))
        # mmdet's clip of the target
        target = ltrb.clamp(1 / 16, 16).log()
        weight = positive[..., None].expand_as(pred).to(pred)
        return dict(
            loss_cls=self.loss_cls(
                flat.cls.flatten(0, 1),
                (labels.flatten(), iou.flatten()),
                avg_factor=count + len(gt),
            ),
            loss_bbox=self.loss_bbox(
                pred.flatten(0, 1),
                target.flatten(0, 1),
                weight.flatten(0, 1),
                avg_factor=count.clamp(min=1),
            ),
        )


def _need_scores(loss: nn.Module) -> None:
    if isinstance(loss, FocalLoss):
        raise ValueError(
            'loss_cls must take (labels, scores), such as QualityFocalLoss '
            f'or GeneralizedFocalLoss, got {type(loss).__name__}'
        )


def _quality_loss(
    head: QFLRetinaHead | QFLSSDHead,
    flat: FlatBatch,
    gt: Tensor,
    avg_factor: Tensor,
) -> Tensor:
    """The classification loss of an anchor head against IoU labels."""
    with torch.no_grad():
        boxes = head.decode(flat)
        target = head.matched_boxes(flat, gt)
        iou = bbox_overlaps(boxes, target, is_aligned=True) * (gt >= 0)
    return head.loss_cls(
        flat.cls.flatten(0, 1),
        (head.matched_labels(flat, gt).flatten(), iou.flatten()),
        head.label_weights(flat, gt).flatten(),
        avg_factor=avg_factor,
    )
