"""One head for every row of the tables of GFL."""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import GFLHead
from mmdet.models.losses import FocalLoss, QualityFocalLoss
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import InstanceList, reduce_mean
from torch import Tensor, nn

from ...models.dense_heads.flat_head import FlatBatch, refuse_sampling
from ...models.dense_heads.inclusive_corners import InclusiveCornersMixin
from ...models.task_modules.assigners._base import Assignment, BatchAssigner
from ...ops.anchor_points import box_distances, centerness
from . import functional as gfl
from .distance_prior import PRIORS, DistancePriorMixin, default_coder
from .losses import GeneralizedFocalLoss

QUALITIES = (
    'joint',
    'none',
    'centerness_branch',
    'iou_branch',
    'centerness_guided',
    'iou_guided',
)
BOX_WEIGHTS = ('score', 'centerness', 'one')
_DFL = dict(type='DistributionFocalLoss', loss_weight=0.25)
_GAUSSIAN = dict(type='GaussianDistanceLoss', loss_weight=0.25)
_BCE = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)


@MODELS.register_module()
class GFLAblationHead(InclusiveCornersMixin, DistancePriorMixin, GFLHead):
    """GFL with an option for each choice that the paper compares.

    Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes
    for Dense Object Detection, NeurIPS 2020, arXiv 2006.04388, tables 1 to 3.

    ``reg_prior``, what the network says about the four distances from the
    anchor's center to the sides of the box (table 2a): 'general': softmax
    over the bins 0, delta, ..., reg_max * delta, the box is the expectation,
    DFL teaches the two bins around the target; 'gaussian': mean and
    ``log sigma^2``; 'dirac': no distribution, one number per side, encoded
    by ``bbox_coder`` as in ATSS or, with ``AnchorPointCoder``, in FCOS.

    ``quality``, how the quality of a box gets into its score (table 1a):
    'joint': the class score is the IoU (QFL); 'none'; a branch on the box
    tower that learns centerness or IoU and multiplies scores; or 'guided':
    the loss of the own class of positives is multiplied by centerness or IoU.

    With all defaults it is mmdet's ``GFLHead``, same parameters and
    detections; with an assigner of mmdet's the loss is that head's own code,
    with one of this package (``BatchATSSAssigner``) the losses of the batch
    are computed at once, equal up to the order of summation. 'dirac' with
    'centerness_branch' is mmdet's ``ATSSHead`` under other parameter names.
    Detections carry ``box_sigmas``, save with 'dirac'.

    Differences from the official code are those of ``GFLHead``: no +1 in
    widths of IoUs, absolute value in QFL, normalizers at least 1 (no option);
    corners are exclusive (``inclusive_corners=True``) and anchors centered at
    multiples of the stride (``anchor_generator.centers``).

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the feature maps.
        reg_prior: See above.
        quality: See above. 'joint' needs a ``loss_cls`` that takes (labels,
            scores), the others ``FocalLoss`` or the like.
        delta: Width of a bin in strides; 1 in the paper.
        box_weight: Weight of positives in the box losses, which are divided
            by its sum: 'score': their best class score; 'centerness'; 'one'.
            None: 'score' with 'joint' (official), 'centerness' with
            'centerness_branch' (ATSS), otherwise 'one'.
        guide_eta: Exponent of the quality with 'guided'; 1.
        guide_normalize: Keep the sum of the guided losses of positives.
        bbox_coder: None: ``DistancePointBBoxCoder``, with 'dirac'
            ``DeltaXYWHBBoxCoder`` of ATSS.
        loss_dfl: For 'general'; None for no DFL.
        loss_gaussian: For 'gaussian'.
        loss_quality: For the branches.
        inclusive_corners: For released weights, see
            :class:`~mmdet_assigners.models.dense_heads.inclusive_corners
            .InclusiveCornersMixin`.
        init_cfg: Initialization; by default N(0, 0.01), class prior 0.01, for
            rectified distances ('gaussian', ``AnchorPointCoder``) bias 4, for
            ``log sigma^2`` N(0, 0.0001).
        **kwargs: Further arguments of ``GFLHead``; ``reg_max`` is n.

    Raises:
        ValueError: An option is unknown or out of its range, options don't
            fit together, or a sampler samples.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        reg_prior: str = 'general',
        quality: str = 'joint',
        delta: float = 1.0,
        box_weight: str | None = None,
        guide_eta: float = 1.0,
        guide_normalize: bool = False,
        bbox_coder: dict | None = None,
        loss_dfl: dict | None = _DFL,
        loss_gaussian: dict = _GAUSSIAN,
        loss_quality: dict = _BCE,
        inclusive_corners: bool = False,
        init_cfg: dict | list | None = None,
        **kwargs: object,
    ) -> None:
        _check_in('reg_prior', reg_prior, PRIORS)
        _check_in('quality', quality, QUALITIES)
        _check_in('box_weight', box_weight, (None, *BOX_WEIGHTS))
        if not delta > 0:
            raise ValueError(f'delta must be positive, got {delta}')
        if not guide_eta >= 0:
            raise ValueError(f'guide_eta must be at least 0, got {guide_eta}')
        self.reg_prior = reg_prior  # read by the parent's constructor
        self.quality = quality
        self.inclusive_corners = inclusive_corners
        self.has_branch = quality.endswith('_branch')
        super().__init__(
            num_classes,
            in_channels,
            loss_dfl=loss_dfl or _DFL,
            bbox_coder=bbox_coder or default_coder(reg_prior),
            init_cfg=init_cfg,
            **kwargs,
        )
        if self.reg_max < 1:
            raise ValueError(f'reg_max must be at least 1, got {self.reg_max}')
        self.delta = delta
        self.integral.project.mul_(delta)
        self.box_weight = box_weight or _default_weight(quality)
        self.guide_eta = guide_eta
        self.guide_normalize = guide_normalize
        if reg_prior != 'general' or loss_dfl is None:
            self.loss_dfl = None
        if reg_prior == 'gaussian':
            self.loss_gaussian = MODELS.build(loss_gaussian)
        if self.has_branch:
            self.loss_quality = MODELS.build(loss_quality)
        if init_cfg is None:
            self.init_cfg = self._default_init()
        self._check()

    def _check(self) -> None:
        self.check_coder()
        loss, joint = self.loss_cls, self.quality == 'joint'
        if isinstance(
            loss,
            FocalLoss if joint else (QualityFocalLoss, GeneralizedFocalLoss),
        ):
            raise ValueError(
                f'loss_cls {type(loss).__name__} does not fit quality='
                f"{self.quality!r}: 'joint' needs a loss of (labels, scores) "
                'such as QualityFocalLoss, the others one of labels'
            )
        refuse_sampling(self)

    def _default_init(self) -> dict:
        override = [
            dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01)
        ]
        if self.rectified:
            override.append(
                dict(type='Normal', name='gfl_reg', std=0.01, bias=4)
            )
        if self.reg_prior == 'gaussian':
            override.append(dict(type='Normal', name='gfl_alpha', std=1e-4))
        return dict(type='Normal', layer='Conv2d', std=0.01, override=override)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.init_box_layers()
        if self.has_branch:
            self.gfl_quality = nn.Conv2d(self.feat_channels, 1, 3, padding=1)

    def forward_single(self, x: Tensor, scale: nn.Module) -> tuple:
        """Predictions of one level.

        Args:
            x: (B, in_channels, H_l, W_l).
            scale: The factor of the level.

        Returns:
            tuple: Class logits (B, C, H_l, W_l), box output (B, K, H_l, W_l)
            and, with a branch, its logits (B, 1, H_l, W_l).
        """
        cls_feat = reg_feat = x
        for layer in self.cls_convs:
            cls_feat = layer(cls_feat)
        for layer in self.reg_convs:
            reg_feat = layer(reg_feat)
        reg = self.box_output(reg_feat, scale)
        if self.has_branch:
            return self.gfl_cls(cls_feat), reg, self.gfl_quality(reg_feat)
        return self.gfl_cls(cls_feat), reg

    @property
    def out_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of what ``forward`` returns."""
        branch = ('quality_preds',) if self.has_branch else ()
        return ('cls_scores', 'bbox_preds', *branch)

    def loss_by_feat(self, *args: object, **kwargs: object) -> dict:
        """Losses of a batch.

        Args:
            *args: As in ``GFLHead``; with a branch its logits are the third.
            **kwargs: The same by name.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and, where there are any,
            ``loss_dfl``, ``loss_gaussian`` and ``loss_quality``.
        """
        as_parent = (
            (self.reg_prior, self.quality) == ('general', 'joint')
            and (self.delta, self.box_weight) == (1, 'score')
            and self.loss_dfl is not None
        )
        if as_parent and not isinstance(self.assigner, BatchAssigner):
            inputs = self.bind_inputs(*args, **kwargs)
            return GFLHead.loss_by_feat(
                self,
                *inputs.outs,
                self.inner_gts(inputs.gts),
                inputs.metas,
                inputs.ignored,
            )
        return super().loss_by_feat(*args, **kwargs)

    def flatten(
        self, outs: Sequence[list[Tensor]], gts: InstanceList, metas: list
    ) -> FlatBatch:
        """Concatenate levels and stack images.

        Args:
            outs: What ``forward`` returned, lists of L maps
                (B, channels, H_l, W_l).
            gts: Ground truths of B images.
            metas: Meta information of B images.

        Returns:
            FlatBatch: In float32 or finer.
        """
        return super().flatten(outs, self.inner_gts(gts), metas)

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, box outputs (B, P, K), anchors and ground
                truths.

        Returns:
            dict: Scalars, see :meth:`loss_by_feat`.
        """
        gt = self.assign_flat(flat).gt
        positive = gt >= 0
        matched = self.matched_boxes(flat, gt)
        # boxes of other anchors may be infinite, and 0 * inf is NaN
        pred = self.decode(flat).where(positive[..., None], matched)
        target = matched
        if self.reg_prior != 'dirac':  # as mmdet: matters for the eps of IoU
            unit = flat.strides[:, None]
            pred, target = pred / unit, matched / unit
        iou = bbox_overlaps(pred.detach(), target, is_aligned=True) * positive
        central = self._centerness(flat, gt)
        weight = self._box_weight(flat, gt, central)
        count = positive.sum(1).clamp(min=1).sum().to(weight)
        num_pos, norm = reduce_mean(torch.stack((count, weight.sum())))
        norm = norm.clamp(min=1)
        guide = central if self.quality.startswith('centerness') else iou
        losses = dict(loss_cls=self._loss_cls(flat, gt, guide, num_pos))
        # weighted below: given weights, the loss synchronizes
        box = self.loss_bbox(
            pred.flatten(0, 1),
            target.flatten(0, 1),
            reduction_override='none',
        ).view_as(weight)
        box = weight_reduce_loss(box, weight, avg_factor=1.0)
        losses['loss_bbox'] = box / norm
        losses |= self.prior_loss(flat, gt, matched, weight, norm)
        if self.has_branch:
            losses['loss_quality'] = self.loss_quality(
                flat.others[0].flatten(),
                guide.flatten(),
                positive.to(weight).flatten(),
                avg_factor=num_pos,
            )
        return losses

    def _loss_cls(
        self, flat: FlatBatch, gt: Tensor, guide: Tensor, num_pos: Tensor
    ) -> Tensor:
        logits = flat.cls.flatten(0, 1)
        weight = self.label_weights(flat, gt).flatten()
        labels = self.matched_labels(flat, gt).flatten()
        if self.quality == 'joint':
            labels = (labels, guide.flatten())
        if not self.quality.endswith('_guided'):
            return self.loss_cls(logits, labels, weight, avg_factor=num_pos)
        terms = self.loss_cls(
            logits, labels, weight, reduction_override='none'
        )
        terms = gfl.guided_losses(
            terms,
            labels,
            guide.flatten(),
            self.guide_eta,
            self.guide_normalize,
        )
        return weight_reduce_loss(terms, avg_factor=num_pos)

    def _centerness(self, flat: FlatBatch, gt: Tensor) -> Tensor:
        """Centerness (B, P) of positives in their ground truth, else 0."""
        ltrb = box_distances(
            self.anchor_center(flat.anchors), self.matched_boxes(flat, gt)
        )
        return centerness(ltrb) * (gt >= 0)

    def _box_weight(
        self, flat: FlatBatch, gt: Tensor, central: Tensor
    ) -> Tensor:
        if self.box_weight == 'centerness':
            return central
        positive = (gt >= 0).to(flat.cls)
        if self.box_weight == 'one':
            return positive
        return flat.cls.detach().sigmoid().amax(-1) * positive

    def assignment_weight(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor:
        """Loss weight (B, P), for the analysis tools; not that of 'score'."""
        weight = super().assignment_weight(flat, assignment)
        if self.box_weight != 'centerness':
            return weight
        central = self._centerness(flat, assignment.gt)
        return central.where(assignment.gt >= 0, weight)


def _check_in(name: str, value: str | None, known: Sequence) -> None:
    if value not in known:
        raise ValueError(f'{name} must be one of {known}, got {value!r}')


def _default_weight(quality: str) -> str:
    weights = dict(joint='score', centerness_branch='centerness')
    return weights.get(quality, 'one')
