"""Base class of assigners: batched inside, mmdet's interface outside."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from ....ops.anchor_match import gather_gts
from ....ops.anchor_points import MAX_ELEMENTS, pad_gts


@dataclass(frozen=True)
class AssignInputs:
    """What an assigner may look at, for B images.

    Attributes:
        priors: (P, 4) anchors in pixels, all levels concatenated, level-major,
            then location, then anchor of the location; (B, P, 4) in a later
            stage, where every image has its own.
        boxes: (B, G, 4) ground truths in pixels, padded, G >= 1.
        labels: (B, G) int64 classes.
        mask: (B, G) bool, False for padding.
        level_sizes: Number of priors of each of the L levels; None if the
            caller doesn't say.
        valid: (B, P) bool, False for priors that are excluded, for example
            outside the image; None if there are none.
        pred_scores: (B, P, C) logits, or None.
        pred_boxes: (B, P, 4) decoded predictions in pixels, or None.
        anchors_per_location: Number of priors of each location; 1 if the
            caller doesn't say.
    """

    priors: Tensor
    boxes: Tensor
    labels: Tensor
    mask: Tensor
    level_sizes: tuple[int, ...] | None = None
    valid: Tensor | None = None
    pred_scores: Tensor | None = None
    pred_boxes: Tensor | None = None
    anchors_per_location: int = 1


@dataclass(frozen=True)
class Assignment:
    """What an assigner decided.

    Attributes:
        gt: (B, P) int64 index of the ground truth, -1 negative, -2 ignored.
        iou: (B, P) IoU with the best ground truth; zeros if not computed.
        extra: More tensors (B, P) of the method by name.
    """

    gt: Tensor
    iou: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)


class BatchAssigner(BaseAssigner):
    """Base class of assigners; a subclass writes :meth:`assign_batch`.

    Heads on :class:`~mmdet_assigners.models.dense_heads.FlatRetinaHead` call
    it once per batch; heads of mmdet call :meth:`assign` per image.

    Args:
        max_elements: Bound on the number of elements of (B, G, P) tensors;
            larger problems are processed in chunks of ground truths.

    Attributes:
        uses_predictions: Whether the assignment depends on predictions.

    Raises:
        ValueError: ``max_elements`` is not positive.
    """

    uses_predictions = False

    def __init__(self, max_elements: int = MAX_ELEMENTS) -> None:
        if max_elements < 1:
            raise ValueError(
                f'max_elements must be at least 1, got {max_elements}'
            )
        self.max_elements = max_elements

    @abstractmethod
    def assign_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors, ground truths and, if the head has them,
                predictions.

        Returns:
            Assignment: Ground truth of each prior.
        """

    def assign(
        self,
        pred_instances: InstanceData,
        *args: Any,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign the priors of one image; both signatures of mmdet.

        ``assign(pred_instances, gt_instances, gt_instances_ignore)`` of most
        heads and ``assign(pred_instances, num_level_priors, gt_instances,
        gt_instances_ignore)`` of ATSS-like ones. Ignored regions are not used,
        as with ``ignore_iof_thr=-1`` of mmdet's configs.

        Args:
            pred_instances: ``priors`` (P, 4) in pixels and, for assigners
                that look at predictions, ``scores`` (P, C) logits and
                ``bboxes`` (P, 4).
            *args: See above.
            gt_instances_ignore: Not used.

        Returns:
            AssignResult: ``gt_inds`` (P,) with 0 negative, -1 ignored, n + 1
            for ground truth n; what is in ``Assignment.extra`` as extra
            properties.
        """
        level_sizes = None
        if args and not isinstance(args[0], InstanceData):
            level_sizes = tuple(int(size) for size in args[0])
            args = args[1:]
        gts = args[0]
        boxes, labels, mask = pad_gts(
            [get_box_tensor(gts.bboxes)], [gts.labels]
        )
        result = self.assign_batch(
            AssignInputs(
                priors=get_box_tensor(pred_instances.priors),
                boxes=boxes,
                labels=labels,
                mask=mask,
                level_sizes=level_sizes,
                pred_scores=_batch_of_one(pred_instances, 'scores'),
                pred_boxes=_batch_of_one(pred_instances, 'bboxes'),
            )
        )
        gt = result.gt[0]
        own = gather_gts(labels, result.gt)[0]
        assigned = AssignResult(
            num_gts=len(gts),
            gt_inds=gt + 1,
            max_overlaps=result.iou[0],
            labels=own.where(gt >= 0, -1),
        )
        for name, value in result.extra.items():
            assigned.set_extra_property(name, value[0])
        return assigned


def _batch_of_one(instances: InstanceData, name: str) -> Tensor | None:
    if name not in instances:
        return None
    return get_box_tensor(instances[name])[None]


def need_levels(inputs: AssignInputs, name: str) -> tuple[int, ...]:
    """The level sizes; an error that says which heads pass them.

    Args:
        inputs: Of an assigner.
        name: Of the assigner, for the message.

    Returns:
        tuple: Number of priors of each level.

    Raises:
        ValueError: They are missing or don't add up to the priors.
    """
    sizes = inputs.level_sizes
    if sizes is None:
        raise ValueError(
            f'{name} needs num_level_priors, the number of priors of each '
            'level: use it in an ATSS-like head or in FlatRetinaHead'
        )
    if sum(sizes) != inputs.priors.shape[-2]:
        raise ValueError(
            f'num_level_priors {sizes} must add up to the number of priors, '
            f'{inputs.priors.shape[-2]}'
        )
    return sizes


def need_predictions(inputs: AssignInputs, name: str) -> Tensor:
    """The predicted boxes (B, P, 4); an error that says who passes them.

    Args:
        inputs: Of an assigner.
        name: Of the assigner, for the message.

    Raises:
        ValueError: They are missing.
    """
    if inputs.pred_boxes is None:
        raise ValueError(
            f'{name} needs the predicted boxes (pred_instances.bboxes): use '
            'it in a head that passes them, such as FlatRetinaHead'
        )
    return inputs.pred_boxes
