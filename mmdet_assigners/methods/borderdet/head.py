"""BorderDet: FCOS and a second stage that looks along the box borders."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmcv.cnn import Scale
from mmdet.models.dense_heads import AnchorFreeHead, FCOSHead
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.models.utils import multi_apply
from mmdet.registry import MODELS
from mmdet.utils import InstanceList, reduce_mean
from torch import Tensor, nn

from ...models.checks import check_delta_loss
from ...models.dense_heads.flat_points import FlatPoints, FlatPointsMixin
from ...ops.anchor_points import flatten_levels
from ...ops.border_align import border_index
from ...ops.fcos import box_loss
from . import functional as borderdet
from .border_align_module import BorderAlignModule
from .predict import BorderPredictMixin, coarse_boxes

_FP32_EPS = 1.1920928955078125e-07
_FCOS = dict(
    center_sampling=True,
    norm_on_bbox=True,
    centerness_on_reg=True,
    conv_bias=True,
    strides=(8, 16, 32, 64, 128),
    loss_bbox=dict(type='GIoULoss', eps=_FP32_EPS, loss_weight=1.0),
)
_FOCAL = dict(
    type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
)
_L1 = dict(type='L1Loss', loss_weight=1.0)
_PRIOR = dict(type='Normal', std=0.01, bias_prob=0.01)
_INIT = dict(
    type='Normal',
    layer='Conv2d',
    std=0.01,
    override=[
        dict(name='conv_cls', **_PRIOR),
        dict(name='border_cls_score', **_PRIOR),
    ],
)


@dataclass(frozen=True)
class BorderPoints(FlatPoints):
    """A batch with the second stage of BorderDet, see `FlatPoints`.

    Attributes:
        border_cls: (B, P, C) class logits.
        border_reg: (B, P, 4) deltas of the coarse boxes.
        coarse: (B, P, 4) coarse boxes in pixels, not clamped, detached.
    """

    border_cls: Tensor
    border_reg: Tensor
    coarse: Tensor


@MODELS.register_module()
class BorderDetHead(BorderPredictMixin, FlatPointsMixin, FCOSHead):
    r"""BorderDet head: FCOS whose boxes are looked at along their borders.

    Stage 1 is FCOS. Its box of each location (coarse box, detached) says
    where BorderAlign reads the features of both towers, see
    :class:`~.border_align_module.BorderAlignModule`. Stage 2
    predicts from them a class score and a refinement of the box. A location
    is positive there if the IoU of its coarse box with a ground truth is at
    least ``border_iou_thr``, whatever it is in stage 1. Detections have
    the refined box and the score

    .. math:: \sqrt{\sqrt{cls \cdot centerness} \cdot border\_cls};

    ``test_cfg.score_thr`` acts on the inner root.

    Paper: BorderDet: Border Feature for Dense Object Detection, ECCV 2020,
    arXiv 2007.11056. Official code: Megvii-BaseDetection/BorderDet.

    Differences from the official code, and what restores it: normalizers are
    means over processes, as in the code of the published models; the current
    official code reduces two of them twice, which is a mistake (no option).
    ``test_cfg.min_bbox_size=0`` of mmdet's base config drops boxes without
    area (-1 keeps them). Images without objects train.

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the feature maps.
        border_cls_channels: Channels per border of the class branch; 256 in
            the official code.
        border_reg_channels: Channels per border of the box branch; 128.
        pool_size: N of the N + 1 samples per border; 10 in the paper.
        border_iou_thr: Minimum IoU of a positive of stage 2; 0.6.
        border_std: Standard deviation of the refinement, relative to the
            sides of the coarse box; 0.5.
        point_offset: Location of a point in its cell. 0 as the official
            code; mmdet's other heads have 0.5.
        loss_border_cls: Class loss of stage 2.
        loss_border_bbox: Loss of the deltas of stage 2.
        init_cfg: Initialization; the paper's by default.
        **kwargs: Arguments of ``FCOSHead``, by default those of the paper:
            ``center_sampling``, ``norm_on_bbox``, ``centerness_on_reg``,
            ``conv_bias``, ``strides`` and ``loss_bbox``.

    Raises:
        ValueError: An option is out of its range, or ``strides`` and
            ``regress_ranges`` differ in length.
        TypeError: ``loss_border_bbox`` is an IoU loss.
    """

    assignment_uses_predictions = False
    out_names = (
        'cls_scores',
        'bbox_preds',
        'centernesses',
        'border_cls_scores',
        'border_bbox_preds',
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        border_cls_channels: int = 256,
        border_reg_channels: int = 128,
        pool_size: int = 10,
        border_iou_thr: float = 0.6,
        border_std: float = 0.5,
        point_offset: float = 0.0,
        loss_border_cls: dict = _FOCAL,
        loss_border_bbox: dict = _L1,
        init_cfg: dict | list | None = _INIT,
        **kwargs: object,
    ) -> None:
        if not 0 < border_iou_thr <= 1:
            raise ValueError(
                f'border_iou_thr must be in (0, 1], got {border_iou_thr}'
            )
        if not border_std > 0:
            raise ValueError(f'border_std must be positive, got {border_std}')
        if not 0 <= point_offset < 1:
            raise ValueError(
                f'point_offset must be in [0, 1), got {point_offset}'
            )
        # read by the parent's constructor
        self.border_cls_channels = border_cls_channels
        self.border_reg_channels = border_reg_channels
        self.pool_size = pool_size
        super().__init__(
            num_classes, in_channels, init_cfg=init_cfg, **{**_FCOS, **kwargs}
        )
        if len(self.strides) != len(self.regress_ranges):
            raise ValueError(
                f'regress_ranges has {len(self.regress_ranges)} levels but '
                f'strides has {len(self.strides)}'
            )
        self.border_iou_thr = border_iou_thr
        self.border_std = border_std
        self.prior_generator = MlvlPointGenerator(self.strides, point_offset)
        self.loss_border_cls = MODELS.build(loss_border_cls)
        self.loss_border_bbox = MODELS.build(loss_border_bbox)
        check_delta_loss(self, 'loss_border_bbox')

    def _init_layers(self) -> None:
        super()._init_layers()
        channels = self.feat_channels
        self.border_cls_subnet = BorderAlignModule(
            channels, self.border_cls_channels, self.pool_size
        )
        self.border_bbox_subnet = BorderAlignModule(
            channels, self.border_reg_channels, self.pool_size
        )
        self.border_cls_score = nn.Conv2d(channels, self.cls_out_channels, 1)
        self.border_bbox_pred = nn.Conv2d(channels, 4, 1)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Predictions of all levels, the same in training and at test.

        Args:
            x: L maps (B, in_channels, H_l, W_l).

        Returns:
            tuple: Five lists of L maps: class logits (B, C, H_l, W_l),
            distances (B, 4, H_l, W_l) in pixels, centerness logits
            (B, 1, H_l, W_l), and of stage 2 class logits (B, C, H_l, W_l) and
            deltas (B, 4, H_l, W_l).
        """
        cls, ltrb, central, cls_feats, reg_feats = multi_apply(
            self.forward_single, x, self.scales, self.strides
        )
        sizes = [tuple(level.shape[2:]) for level in x]
        points = self._points(sizes, self.strides, ltrb[0])
        coarse = coarse_boxes(points, flatten_levels(ltrb))
        boxes = borderdet.pooling_boxes(
            coarse, points, self.prior_generator.offset
        )
        index: Sequence[Tensor] = ()
        if torch.is_grad_enabled():
            index = border_index(boxes, sizes, self.pool_size)
        border_cls = self.border_cls_score(
            self.border_cls_subnet(cls_feats, boxes, index)
        )
        border_reg = self.border_bbox_pred(
            self.border_bbox_subnet(reg_feats, boxes, index)
        )
        return (
            cls,
            ltrb,
            central,
            _maps(border_cls, sizes),
            _maps(border_reg, sizes),
        )

    def forward_single(
        self, x: Tensor, scale: Scale, stride: int
    ) -> tuple[Tensor, ...]:
        """Predictions of stage 1 of one level, and what stage 2 looks at.

        Args:
            x: (B, in_channels, H, W).
            scale: Scalar of the level.
            stride: In pixels.

        Returns:
            tuple: Class logits (B, C, H, W), distances (B, 4, H, W) in
            pixels, centerness logits (B, 1, H, W), and the features of both
            towers (B, feat_channels, H, W).
        """
        cls, ltrb, cls_feat, reg_feat = AnchorFreeHead.forward_single(self, x)
        central = self.conv_centerness(
            reg_feat if self.centerness_on_reg else cls_feat
        )
        ltrb = scale(ltrb)
        ltrb = ltrb.to(torch.promote_types(ltrb.dtype, torch.float32))
        if self.norm_on_bbox:
            ltrb = ltrb.clamp(min=0) * stride
        else:
            ltrb = ltrb.exp()
        return cls, ltrb, central, cls_feat, reg_feat

    def flatten(
        self, outs: Sequence[list[Tensor]], gts: InstanceList
    ) -> BorderPoints:
        """Concatenate levels and stack images.

        Args:
            outs: What ``forward`` returned, five lists of L maps
                (B, channels, H_l, W_l).
            gts: Ground truths of B images.

        Returns:
            BorderPoints: In float32 or finer.
        """
        flat = super().flatten(outs[:3], gts)
        border_cls, border_reg = (flatten_levels(maps) for maps in outs[3:])
        coarse = coarse_boxes(flat.points, flat.reg)
        return BorderPoints(
            **vars(flat),
            **dict(
                border_cls=border_cls, border_reg=border_reg, coarse=coarse
            ),
        )

    def loss_flat(  # type: ignore[override]
        self, flat: BorderPoints
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions (B, P, ...) of both stages, points and ground
                truths.

        Returns:
            dict: What :meth:`stage_losses` returns.
        """
        with torch.no_grad():
            targets = borderdet.border_targets(
                flat.points,
                flat.coarse,
                flat.boxes,
                flat.labels,
                flat.mask,
                self.num_classes,
                self.regress_ranges,
                self.center_sample_radius if self.center_sampling else None,
                self.border_iou_thr,
                self.border_std,
            )
        return self.stage_losses(flat, targets)

    def stage_losses(
        self, flat: BorderPoints, targets: borderdet.BorderTargets
    ) -> dict[str, Tensor]:
        """Losses of both stages.

        Args:
            flat: Predictions (B, P, ...); points and ground truths aren't
                used.
            targets: Of the P points, (B, P) and (B, P, 4).

        Returns:
            dict: ``loss_cls``, ``loss_bbox``, ``loss_centerness``,
            ``loss_border_cls`` and ``loss_border_bbox``.
        """
        positive = targets.labels < self.num_classes
        refined = targets.border_labels < self.num_classes
        # boxes around the origin: GIoU doesn't depend on the place
        origin = flat.reg.new_zeros(2)
        target = targets.ltrb.where(positive[..., None], 1)
        pred = flat.reg.where(positive[..., None], target)
        pred, target = (
            borderdet.boxes_from_distances(origin, ltrb).flatten(0, 1)
            for ltrb in (pred, target)
        )
        # weighted below: given weights, the loss synchronizes
        terms = self.loss_bbox(pred, target, reduction_override='none')
        box, weight = box_loss(
            terms.view(positive.shape), targets.centerness, positive, True
        )
        assert flat.factor is not None  # the centerness
        # one all-reduce; each is a mean over processes, at least 1
        local = torch.stack((positive.sum(), weight, refined.sum()))
        num_pos, weight, num_refined = reduce_mean(local).clamp(min=1)
        deltas = flat.border_reg.where(
            refined[..., None], targets.border_deltas
        )
        return dict(
            loss_cls=self.loss_cls(
                flat.cls.flatten(0, 1),
                targets.labels.flatten(),
                avg_factor=num_pos,
            ),
            loss_bbox=weight_reduce_loss(box, avg_factor=weight),
            loss_centerness=self.loss_centerness(
                flat.factor.flatten(),
                targets.centerness.flatten(),
                positive.to(flat.factor).flatten(),
                avg_factor=num_pos,
            ),
            loss_border_cls=self.loss_border_cls(
                flat.border_cls.flatten(0, 1),
                targets.border_labels.flatten(),
                avg_factor=num_refined,
            ),
            loss_border_bbox=self.loss_border_bbox(
                deltas.flatten(0, 1),
                targets.border_deltas.flatten(0, 1),
                avg_factor=num_refined,
            ),
        )

    @torch.no_grad()
    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
        stage: int = 1,
    ) -> InstanceList:
        """The assignment of one stage, for the analysis tools.

        Args:
            outs: What ``forward`` returned.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Not used.
            feats: Not used.
            stage: 1, of points, or 2, of coarse boxes.

        Returns:
            list: B instances with ``priors`` in pixels, points (P, 2) or
            coarse boxes (P, 4), and, of shape (P,), ``level``, ``stride``,
            ``assigned_gt`` and ``weight``.

        Raises:
            ValueError: ``stage`` is neither.
        """
        if stage not in (1, 2):
            raise ValueError(f'stage must be 1 or 2, got {stage}')
        found = super().get_assignment(
            outs, batch_gt_instances, batch_img_metas, feats
        )
        if stage == 2:
            flat = self.flatten(outs, batch_gt_instances)
            match = borderdet.match_borders(
                flat.coarse, flat.boxes, flat.mask, self.border_iou_thr
            )
            for one, boxes, gt in zip(found, flat.coarse, match, strict=True):
                one.priors, one.assigned_gt = boxes, gt
        return found


def _maps(row: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """L maps (B, K, H_l, W_l) of a map (B, K, 1, P) of one row."""
    parts = row.squeeze(2).split([h * w for h, w in sizes], 2)
    return [
        part.unflatten(2, size)
        for part, size in zip(parts, sizes, strict=True)
    ]
