"""Base class of assigners: batched inside, mmdet's interface outside."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from ....ops.anchor_match import gather_gts, iou_bounds, max_iof
from ....ops.anchor_points import MAX_ELEMENTS, pad_gts, pad_rows


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
        regions: (B, R, 4) ignored regions in pixels, padded with boxes without
            area, or None. :meth:`BatchAssigner.assign_batch` turns them into
            ``valid``.
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
    regions: Tensor | None = None


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
    """Base class of assigners; a subclass writes :meth:`match_batch`.

    Heads on :class:`~mmdet_assigners.models.dense_heads.FlatRetinaHead` call
    :meth:`assign_batch` once per batch; heads of mmdet call :meth:`assign` per
    image.

    Args:
        max_elements: Bound on the number of elements of (B, G, P) tensors;
            larger problems are processed in chunks of ground truths.
        ignore_iof_thr: Priors are ignored, and match nothing, if an ignored
            region of the dataset covers more than this share of them; 0 or
            less: no regions. As in mmdet, an image without ground truths has
            negatives only.
        ignore_wrt_candidates: False: the share of the region that the prior
            covers.

    Attributes:
        uses_predictions: Whether the assignment depends on predictions.

    Raises:
        ValueError: ``max_elements`` is not positive.
    """

    uses_predictions = False

    def __init__(
        self,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        if max_elements < 1:
            raise ValueError(
                f'max_elements must be at least 1, got {max_elements}'
            )
        self.max_elements = max_elements
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates

    def assign_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors, ground truths and, if the head has them,
                predictions and ignored regions.

        Returns:
            Assignment: Ground truth of each prior.
        """
        if self.ignore_iof_thr > 0 and inputs.regions is not None:
            covered = max_iof(
                inputs.priors,
                inputs.regions,
                not self.ignore_wrt_candidates,
                self.max_elements,
            )
            ignored = covered > self.ignore_iof_thr
            valid = ~(ignored & inputs.mask.any(1, keepdim=True))
            if inputs.valid is not None:
                valid = valid & inputs.valid
            inputs = replace(inputs, valid=valid)
        return self.match_batch(inputs)

    @abstractmethod
    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images; a subclass writes it.

        Args:
            inputs: As of :meth:`assign_batch`; priors in ignored regions are
                not ``valid``.

        Returns:
            Assignment: Ground truth of each prior.
        """

    def assign(
        self,
        pred_instances: InstanceData,
        *args: Any,
        num_level_priors: Sequence[int] | None = None,
        gt_instances: InstanceData | None = None,
        gt_instances_ignore: InstanceData | None = None,
        img_meta: dict | None = None,
    ) -> AssignResult:
        """Assign the priors of one image; both signatures of mmdet.

        ``assign(pred_instances, gt_instances, gt_instances_ignore)`` of most
        heads and ``assign(pred_instances, num_level_priors, gt_instances,
        gt_instances_ignore)`` of ATSS-like ones, by position or by name.

        Args:
            pred_instances: ``priors`` (P, 4) in pixels and, for assigners
                that look at predictions, ``scores`` (P, C) logits and
                ``bboxes`` (P, 4).
            *args: See above.
            num_level_priors: Number of priors of each level.
            gt_instances: ``bboxes`` (G, 4) in pixels and ``labels`` (G,).
            gt_instances_ignore: ``bboxes`` (R, 4) of ignored regions.
            img_meta: Not used.

        Returns:
            AssignResult: ``gt_inds`` (P,) with 0 negative, -1 ignored, n + 1
            for ground truth n; what is in ``Assignment.extra`` as extra
            properties.

        Raises:
            TypeError: There are no ground truths, or an argument is given
                twice.
        """
        named = dict(
            num_level_priors=num_level_priors,
            gt_instances=gt_instances,
            gt_instances_ignore=gt_instances_ignore,
        )
        of_levels = args and not isinstance(args[0], InstanceData | None)
        names = list(named)[not of_levels :]
        if len(args) > len(names):
            raise TypeError(
                f'assign takes pred_instances, {", ".join(names)} by '
                f'position, got {1 + len(args)} arguments'
            )
        for name, value in zip(names, args, strict=False):
            if named[name] is not None:
                raise TypeError(f'assign got {name} twice')
            named[name] = value
        return self._assign_image(pred_instances, **named)

    def _assign_image(
        self,
        pred_instances: InstanceData,
        num_level_priors: Sequence[int] | None,
        gt_instances: InstanceData | None,
        gt_instances_ignore: InstanceData | None,
    ) -> AssignResult:
        if gt_instances is None:
            raise TypeError('assign needs gt_instances, got None')
        level_sizes = None
        if num_level_priors is not None:
            level_sizes = tuple(int(size) for size in num_level_priors)
        boxes, labels, mask = pad_gts(
            [get_box_tensor(gt_instances.bboxes)], [gt_instances.labels]
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
                regions=pad_regions([gt_instances_ignore], boxes),
            )
        )
        gt = result.gt[0]
        own = gather_gts(labels, result.gt)[0]
        assigned = AssignResult(
            num_gts=len(gt_instances),
            gt_inds=gt + 1,
            max_overlaps=result.iou[0],
            labels=own.where(gt >= 0, -1),
        )
        for name, value in result.extra.items():
            assigned.set_extra_property(name, value[0])
        return assigned


def pad_regions(
    ignored: Sequence[InstanceData | None] | None, like: Tensor
) -> Tensor | None:
    """Ignored regions of B images for ``AssignInputs.regions``.

    Args:
        ignored: B instances with ``bboxes``; None for images without.
        like: Gives type and device.

    Returns:
        Tensor | None: (B, R, 4) in pixels, padded with zeros; None if no image
        has any.
    """
    rows = [
        like.new_zeros(0, 4)
        if one is None
        else get_box_tensor(one.bboxes).to(like).reshape(-1, 4)
        for one in ignored or ()
    ]
    return pad_rows(rows) if any(len(boxes) for boxes in rows) else None


def check_thresholds(
    pos_iou_thr: float, neg_iou_thr: float | Sequence[float]
) -> None:
    """Refuse IoU thresholds that are out of their range.

    Args:
        pos_iou_thr: Minimum IoU of a positive.
        neg_iou_thr: Upper end of the IoU of negatives, or both ends.

    Raises:
        ValueError: They are not in [0, 1], or not in order.
    """
    low, high = iou_bounds(neg_iou_thr)
    if not 0 <= low <= high <= pos_iou_thr <= 1:
        raise ValueError(
            'neg_iou_thr and pos_iou_thr must be in [0, 1] and in this '
            f'order, got {neg_iou_thr} and {pos_iou_thr}'
        )


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
