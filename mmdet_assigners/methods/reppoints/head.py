"""RepPoints with batched losses, and points at test time."""

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.registry import MODELS
from mmdet.utils import InstanceList, reduce_mean
from torch import Tensor

from ...models.dense_heads.inclusive_corners import InclusiveCornersMixin
from ...models.dense_heads.instances import assignment_instances, pad_instances
from ...models.dense_heads.loss_inputs import LossInputs, LossInputsMixin
from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    pad_regions,
)
from ...ops.anchor_match import IGNORED, gather_gts
from ...ops.anchor_points import flatten_levels
from ...ops.deform_conv import deform_conv
from .assigner import BatchPointAssigner
from .functional import METHODS, points_to_boxes, scale_gradient
from .predict import PointSetPredictMixin

_INIT = dict(
    type='Normal',
    layer=['Conv2d', 'DeformConv2d'],
    std=0.01,
    override=dict(
        type='Normal', name='reppoints_cls_out', std=0.01, bias_prob=0.01
    ),
)


@MODELS.register_module()
class BatchRepPointsHead(
    LossInputsMixin, InclusiveCornersMixin, PointSetPredictMixin
):
    """RepPoints: a box is the box around points that the network places.

    Network, targets and losses are those of mmdet's ``RepPointsHead`` (equal
    up to the order of sums), in one pass over levels and images and on any
    device. Besides: the deformable convolutions start from N(0, 0.01) as in
    the official code (mmdet leaves them at He's initialization), detections
    carry their points, points that coincide have a finite gradient, and the
    two sources of gradient of the first points can be set apart.

    Paper: RepPoints: Point Set Representation for Object Detection, ICCV
    2019, arXiv 1904.11490. Official code: microsoft/RepPoints.

    Differences from the official code, and what restores it: pre-selection at
    test keeps the best (location, class) pairs
    (``test_cfg.nms_pre_by='location'``); corners are exclusive
    (``inclusive_corners=True``) and IoUs don't count inclusive pixels
    (``legacy_plus_one=True`` of ``BatchMaxIoUAssigner``); images without
    objects are background.

    Args:
        *args: Of ``RepPointsHead``.
        cls_gradient_mul: Factor of the gradient that the classification sends
            to the first points; by default ``gradient_mul``, which then is
            the factor of the refinement. 0: supervision by localization
            alone.
        sync_normalizer: Divide by the mean number of positives of all
            processes instead of that of this one. Not in the official code.
        inclusive_corners: For released weights, see
            :class:`~mmdet_assigners.models.dense_heads.inclusive_corners
            .InclusiveCornersMixin`.
        init_cfg: Initialization; the official one by default.
        **kwargs: Of ``RepPointsHead``. Both assigners of ``train_cfg`` must
            be of this package: ``BatchPointAssigner`` or
            ``BatchMaxIoUAssigner`` for ``init``, the latter for ``refine``.

    Raises:
        ValueError: ``transform_method`` is unknown or does not fit
            ``use_grid_points``, a share of gradients is out of its range, or
            classes exclude each other.
        TypeError: An assigner is not of this package, or the sampler samples.
    """

    assignment_uses_predictions = True
    out_names = ('cls_scores', 'pts_preds_init', 'pts_preds_refine')

    def __init__(
        self,
        *args: object,
        cls_gradient_mul: float | None = None,
        sync_normalizer: bool = False,
        inclusive_corners: bool = False,
        init_cfg: dict | list = _INIT,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, init_cfg=init_cfg, **kwargs)
        if self.transform_method not in METHODS:
            raise ValueError(
                f'transform_method must be one of {", ".join(METHODS)}, got '
                f'{self.transform_method!r}'
            )
        if self.use_grid_points and self.transform_method != 'minmax':
            raise ValueError(
                "use_grid_points=True needs transform_method='minmax', got "
                f'{self.transform_method!r}: other boxes of a grid are smaller'
            )
        if not self.use_sigmoid_cls:
            raise ValueError(
                'loss_cls.use_sigmoid must be True, got False: classes are '
                'independent'
            )
        if cls_gradient_mul is None:
            cls_gradient_mul = self.gradient_mul
        for name, share in (
            ('gradient_mul', self.gradient_mul),
            ('cls_gradient_mul', cls_gradient_mul),
        ):
            if not 0 <= share <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {share}')
        self.cls_gradient_mul = cls_gradient_mul
        self.sync_normalizer = sync_normalizer
        self.inclusive_corners = inclusive_corners
        if self.train_cfg:
            for name in ('init', 'refine'):
                assigner = getattr(self, f'{name}_assigner')
                if not isinstance(assigner, BatchAssigner):
                    raise TypeError(
                        f'train_cfg.{name}.assigner must be a BatchAssigner '
                        'such as BatchPointAssigner or BatchMaxIoUAssigner, '
                        f'got {type(assigner).__name__}'
                    )
            if not isinstance(self.sampler, PseudoSampler):
                raise TypeError(
                    'train_cfg.sampler must be PseudoSampler or left out, '
                    f'got {type(self.sampler).__name__}'
                )

    def points2bbox(self, pts: Tensor, y_first: bool = True) -> Tensor:
        """Boxes of points, as mmdet's, with finite gradients.

        Args:
            pts: (N, 2 n) or (N, 2 n, H, W).
            y_first: Pairs are (y, x).

        Returns:
            Tensor: (N, 4) or (N, 4, H, W).
        """
        points = pts.unflatten(1, (-1, 2)).movedim((1, 2), (-2, -1))
        if y_first:
            points = points.flip(-1)
        scale = None
        if self.transform_method == 'moment':
            scale = scale_gradient(self.moment_transfer, self.moment_mul)
        boxes = points_to_boxes(points, self.transform_method, scale)
        return boxes.movedim(-1, 1)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions of one level.

        Args:
            x: (B, C_in, H, W).

        Returns:
            tuple: Class logits (B, C, H, W), first and refined points
            (B, 2 n, H, W): y, x in strides from the location. Also in
            evaluation.
        """
        cls_feat = pts_feat = x
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs:
            pts_feat = conv(pts_feat)
        base = self.dcn_base_offset.to(x)
        first = self.relu(self.reppoints_pts_init_conv(pts_feat))
        first = self.reppoints_pts_init_out(first)
        half = self.point_base_scale / 2
        if self.use_grid_points:
            square = x.new_tensor([-half, -half, half, half])
            first, box = self.gen_grid_from_reg(first, square.view(1, 4, 1, 1))
        elif not self.center_init:
            first = first + base / self.dcn_pad * half
        cls, refined = (
            deform_conv(
                feat,
                scale_gradient(first, factor) - base,
                conv.weight,
                1,
                self.dcn_pad,
            )
            for feat, factor, conv in (
                (cls_feat, self.cls_gradient_mul, self.reppoints_cls_conv),
                (pts_feat, self.gradient_mul, self.reppoints_pts_refine_conv),
            )
        )
        cls = self.reppoints_cls_out(self.relu(cls))
        refined = self.reppoints_pts_refine_out(self.relu(refined))
        if self.use_grid_points:
            refined, _ = self.gen_grid_from_reg(refined, box.detach())
        else:
            refined = refined + first.detach()
        return cls, first, refined

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs: Of ``loss_by_feat``. Ignored regions go to both assigners.

        Returns:
            dict: Scalars ``loss_cls``, ``loss_pts_init`` and
            ``loss_pts_refine``.
        """
        outs, gts = inputs.outs, inputs.gts
        priors, _, valid = self._locations(outs[0], inputs.metas)
        logits = flatten_levels(outs[0], len(priors))
        first, refined = (self._boxes(maps, priors) for maps in outs[1:])
        padded = pad_instances(self.inner_gts(gts), first)
        boxes, labels, _ = padded
        regions = pad_regions(inputs.ignored, first)
        init = self.assign_init(priors, valid, padded, regions)
        refine = self.assign_refine(first, valid, padded, regions)
        losses = {}
        normalizer = self.point_base_scale * priors[:, 2, None]
        for name, pred, gt in (
            ('init', first, init.gt),
            ('refine', refined, refine.gt),
        ):
            positive = (gt >= 0)[..., None].expand_as(pred)
            target = gather_gts(boxes, gt).where(positive, 0)
            # the terms by themselves: mmdet's mean asks the device whether
            # there is a positive
            terms = getattr(self, f'loss_bbox_{name}')(
                (pred / normalizer).flatten(0, 1),
                (target / normalizer).flatten(0, 1),
                reduction_override='none',
            )
            terms = terms.where(positive.flatten(0, 1), 0)
            losses[f'loss_pts_{name}'] = terms.sum() / self._count(gt)
        gt = refine.gt
        labels = gather_gts(labels, gt).where(gt >= 0, self.num_classes)
        loss_cls = self.loss_cls(
            logits.flatten(0, 1),
            labels.flatten(),
            self._label_weights(gt, logits).flatten(),
            avg_factor=self._count(gt).to(logits),
        )
        return dict(loss_cls=loss_cls, **losses)

    def _label_weights(self, gt: Tensor, like: Tensor) -> Tensor:
        """0 if ignored, ``train_cfg.refine.pos_weight`` for positives."""
        weight = (gt != IGNORED).to(like)
        pos_weight = self.train_cfg['refine'].get('pos_weight', -1)
        return weight if pos_weight <= 0 else weight.where(gt < 0, pos_weight)

    def _count(self, gt: Tensor) -> Tensor:
        """Positives of the batch; each image counts at least one."""
        count = (gt >= 0).sum(1).clamp(min=1).sum()
        return reduce_mean(count.float()) if self.sync_normalizer else count

    def _locations(
        self, maps: Sequence[Tensor], metas: list
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points (P, 4): x, y, stride, stride; level (P,); valid (B, P)."""
        sizes = [tuple(x.shape[-2:]) for x in maps]
        device = maps[0].device
        dtype = torch.promote_types(maps[0].dtype, torch.float32)
        levels = self.prior_generator.grid_priors(
            sizes, dtype=dtype, device=device, with_stride=True
        )
        level = torch.cat(
            [
                torch.full((len(points),), index, device=device)
                for index, points in enumerate(levels)
            ]
        )
        valid = [
            torch.cat(
                self.prior_generator.valid_flags(
                    sizes, meta['pad_shape'], device
                )
            )
            for meta in metas
        ]
        return torch.cat(levels), level, torch.stack(valid).bool()

    def _boxes(self, maps: Sequence[Tensor], priors: Tensor) -> Tensor:
        """Boxes (B, P, 4) in pixels of points L x (B, 2 n, H_l, W_l)."""
        points = flatten_levels(maps, len(priors))
        boxes = self.points2bbox(points.flatten(0, 1)).view(
            *points.shape[:2], 4
        )
        return boxes * priors[:, 2, None] + priors[:, :2].repeat(1, 2)

    @torch.no_grad()
    def assign_init(
        self,
        priors: Tensor,
        valid: Tensor,
        gts: tuple[Tensor, Tensor, Tensor],
        regions: Tensor | None = None,
    ) -> Assignment:
        """Assignment of the first points.

        Args:
            priors: (P, 4) x, y, stride, stride.
            valid: (B, P) bool.
            gts: Boxes (B, G, 4), labels (B, G) and mask (B, G).
            regions: (B, R, 4) ignored regions in pixels, or None.
        """
        if not isinstance(self.init_assigner, BatchPointAssigner):
            # squares around the locations stand for anchors
            half = priors[:, 2:] * self.point_base_scale / 2
            xy = priors[:, :2]
            priors = torch.cat((xy - half, xy + half), 1)
        inputs = AssignInputs(priors, *gts, valid=valid, regions=regions)
        return self.init_assigner.assign_batch(inputs)

    @torch.no_grad()
    def assign_refine(
        self,
        boxes: Tensor,
        valid: Tensor,
        gts: tuple[Tensor, Tensor, Tensor],
        regions: Tensor | None = None,
    ) -> Assignment:
        """Assignment of the refined points.

        Args:
            boxes: (B, P, 4) of the first points.
            valid: (B, P) bool.
            gts: Boxes (B, G, 4), labels (B, G) and mask (B, G).
            regions: (B, R, 4) ignored regions in pixels, or None.
        """
        inputs = AssignInputs(
            boxes.detach(), *gts, valid=valid, regions=regions
        )
        return self.refine_assigner.assign_batch(inputs)

    @torch.no_grad()
    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
        stage: str = 'refine',
    ) -> InstanceList:
        """The assignment of one stage, for the analysis tools.

        Args:
            outs: What ``forward`` returned.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: B dicts.
            feats: Not used.
            stage: 'init' or 'refine', which also classifies.

        Returns:
            list: B instances with ``priors``, points (P, 2) or boxes of the
            first points (P, 4) in pixels, and, of shape (P,), ``level``,
            ``stride``, ``assigned_gt`` and ``weight``.

        Raises:
            ValueError: ``stage`` is neither.
        """
        if stage not in ('init', 'refine'):
            raise ValueError(f"stage must be 'init' or 'refine', got {stage}")
        priors, level, valid = self._locations(outs[0], batch_img_metas)
        boxes = self._boxes(outs[1], priors)
        padded = pad_instances(self.inner_gts(batch_gt_instances), boxes)
        if stage == 'init':
            found = self.assign_init(priors, valid, padded).gt
            shown = priors[:, :2]
        else:
            found = self.assign_refine(boxes, valid, padded).gt
            shown = boxes
        return assignment_instances(
            shown, level, priors[:, 2], found, (found != IGNORED).to(boxes)
        )
