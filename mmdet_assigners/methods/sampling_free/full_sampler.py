"""A sampler that keeps everything."""

from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import PseudoSampler, SamplingResult
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import cat_boxes, get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.dense_heads.instances import has_area


@TASK_UTILS.register_module()
class FullSampler(PseudoSampler):
    """All proposals, with the ground truths among them.

    For R-CNN heads without sampling (Sampling-Free, arXiv 1909.04868).
    mmdet's ``PseudoSampler`` also keeps all, but doesn't add the ground
    truths to the proposals as its random samplers do. Ignored proposals are
    dropped. The number of positives has no limit: mind the memory of mask
    heads.

    Args:
        add_gt_as_proposals: Add the ground truths.
        context: The RoI head; mmdet passes it, not used.
    """

    def __init__(
        self,
        add_gt_as_proposals: bool = True,
        context: nn.Module | None = None,
    ) -> None:
        self.add_gt_as_proposals = add_gt_as_proposals

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        feats: list[Tensor] | None = None,
    ) -> SamplingResult:
        """Everything that is assigned.

        Args:
            assign_result: Of the assigner; the ground truths are added to it.
            pred_instances: With ``priors`` (N, 4) in pixels.
            gt_instances: With ``bboxes`` (G, 4) and ``labels`` (G,).
            feats: Not used.

        Returns:
            SamplingResult: Positives and negatives.
        """
        add = self.add_gt_as_proposals and len(gt_instances) > 0
        if add:
            boxes = (gt_instances.bboxes, pred_instances.priors)
            pred_instances = InstanceData(priors=cat_boxes(boxes))
            assign_result.add_gt_(gt_instances.labels)
            # a box without area can't be encoded relative to itself
            empty = ~has_area(get_box_tensor(gt_instances.bboxes))
            assign_result.gt_inds[: len(empty)][empty] = -1
        result = super().sample(assign_result, pred_instances, gt_instances)
        if add:
            result.pos_is_gt = (result.pos_inds < len(gt_instances)).to(
                result.pos_is_gt
            )
        return result
