"""FSAF's anchor-free head as the paper describes it."""

from collections.abc import Sequence

from mmdet.models.dense_heads import FSAFHead
from mmdet.registry import MODELS
from mmdet.utils import InstanceList
from torch import Tensor

from ...models.checks import refuse_ignored_regions, refuse_pos_weight
from ...models.dense_heads.distance_init import distance_init
from .anchor_free_branch import AnchorFreeBranch
from .functional import FSAFRules


@MODELS.register_module()
class FSAFPaperHead(FSAFHead):
    """Anchor-free head with online feature selection, without anchors.

    Network and parameter names are those of mmdet's ``FSAFHead``, so its
    checkpoints load; what the points are trained on differs. Each ground
    truth trains on the level on which its own loss is smallest. Its class is
    positive in the effective box, ignored in the rest of the ignoring box
    there and in the whole ignoring box on the two adjacent levels, negative
    elsewhere. Losses of all images and levels are computed at once.

    Paper: Feature Selective Anchor-Free Module for Single-Shot Object
    Detection, CVPR 2019, arXiv 1903.00621, sections 3.2 and 3.3. No official
    code.

    Differences from mmdet's head: all of the above (restored by
    ``ignore_scale=0.2, ignore_adjacent_levels=False, unselected='ignore'``);
    of two ground truths of one class, a positive point of one is never
    ignored because of the other (mmdet: ``foreground_dominate=True``); bias
    0.1 of the distances (mmdet: ``distance_bias=0.25``); the normalizer is
    the mean over processes of the positives, at least 1; ignored regions of
    the dataset are not used; no ``pos_recall`` in the log.

    Args:
        *args: Arguments of ``FSAFHead``.
        effective_scale: Factor of the effective box; 0.2 in the paper.
        ignore_scale: Factor of the ignoring box; 0.5 in the paper.
        ignore_adjacent_levels: Ignoring boxes on adjacent levels, too.
        unselected: 'negative' (paper) or 'ignore' (mmdet), see
            :class:`~.functional.FSAFRules`.
        level_select: 'online' (paper) or 'heuristic', its ablation.
        region_rule: 'cell_overlap' (mmdet) or 'point', see
            :class:`~.functional.FSAFRules`.
        distance_bias: Initial bias of the distances in units of 4 strides:
            untrained points predict boxes of ``8 * distance_bias`` strides.
            0.1 in the paper.
        init_cfg: Initialization instead of the paper's; ``distance_bias`` is
            not used then.
        **kwargs: Arguments of ``FSAFHead``.

    Raises:
        ValueError: An option is out of its range, or ``train_cfg`` asks for
            weights of positives or ignored regions.
        TypeError: ``loss_cls`` is no ``FocalLoss`` or ``loss_bbox`` no
            ``IoULoss`` of mode 'log'.
    """

    assignment_uses_predictions = True

    def __init__(
        self,
        *args: object,
        effective_scale: float = 0.2,
        ignore_scale: float = 0.5,
        ignore_adjacent_levels: bool = True,
        unselected: str = 'negative',
        level_select: str = 'online',
        region_rule: str = 'cell_overlap',
        distance_bias: float = 0.1,
        init_cfg: dict | list | None = None,
        **kwargs: object,
    ) -> None:
        init_cfg = init_cfg or distance_init(
            ['retina_cls'], 'retina_reg', distance_bias
        )
        super().__init__(*args, init_cfg=init_cfg, **kwargs)
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has no assigner')
        rules = FSAFRules(
            effective_scale,
            ignore_scale,
            ignore_adjacent_levels,
            unselected,
            level_select,
            region_rule,
            self.bbox_coder.normalizer,
            getattr(self.loss_bbox, 'eps', 1e-6),
        )
        self.branch = AnchorFreeBranch(
            self.num_classes,
            self.prior_generator,
            self.bbox_coder,
            self.loss_cls,
            self.loss_bbox,
            rules,
            self.test_cfg,
        )

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: InstanceList | None = None,
    ) -> dict[str, Tensor]:
        """Losses from the predictions.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            bbox_preds: L distances t, b, l, r (B, 4, H_l, W_l), at least 0,
                in units of 4 strides.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Not used.
            batch_gt_instances_ignore: Not used.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and, for the log, ``num_pos``.
        """
        return self.branch.loss_by_feat(
            cls_scores, bbox_preds, batch_gt_instances
        )

    def get_assignment(
        self,
        outs: Sequence[Sequence[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
    ) -> InstanceList:
        """The assignment of the points, for the analysis tools.

        Args:
            outs: Predictions of ``forward``.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Not used.
            feats: Not used.

        Returns:
            list: B instances with ``priors`` (P, 2) in pixels and, of shape
            (P,), ``level``, ``stride``, ``assigned_gt`` and ``weight``.
        """
        return self.branch.get_assignment(*outs, batch_gt_instances)
