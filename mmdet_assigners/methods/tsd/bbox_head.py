"""Box head of TSD."""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...models.checks import check_delta_loss, check_parts, pick
from ...models.roi_heads.dict_roi_head import BoxOutputs, DictBBoxHeadMixin
from ...ops.own_columns import own_columns
from . import functional as tsd
from .pyramid import PyramidRoIs, pool_moved

_KAIMING = dict(
    type='Kaiming',
    a=1,
    mode='fan_in',
    nonlinearity='leaky_relu',
    distribution='normal',
)
_HIDDEN = (
    'shared_fcs',
    'tsd_cls_fcs',
    'tsd_reg_fcs',
    'offset_fc',
    'cls_offset_fcs',
    'reg_offset_fcs',
)


@MODELS.register_module()
class TSDBBoxHead(DictBBoxHeadMixin, Shared2FCBBoxHead):
    """Classification and regression on proposals of their own.

    Revisiting the Sibling Head in Object Detector, CVPR 2020, arXiv
    2003.07540. From the RoI feature the head predicts an offset for each bin
    for classification, and a translation of the whole proposal for regression
    (equations 2 to 5), pools both features from the pyramid again and gives
    each to two layers of its own. The ordinary head, the sibling, is trained
    beside it; the progressive constraint (equations 6 to 8) is a loss where
    TSD does not beat it by a margin. In evaluation the sibling isn't run. Use
    it in a ``TSDRoIHead`` or ``TSDCascadeRoIHead``.

    ``bbox_pred`` is relative to the proposals that came in: the translation is
    part of it, so cascades, test-time augmentation and targets need nothing of
    their own.

    Args:
        *args: Of ``Shared2FCBBoxHead``.
        cls_pc_margin: Margin of the label's probability; 0.3 in the released
            configs, None: no constraint.
        loc_pc_margin: Margin of the IoU with the ground truth, likewise.
        cls_offset: ``'pixel'``, an offset for each bin; ``'proposal'``, one
            for all bins; ``'none'``, the feature of the proposal itself.
        reg_offset: The same for regression; ``'proposal'`` also moves the
            proposal.
        with_sibling: Train the sibling head; without it there is no
            constraint.
        offset_channels: Width of the layers that predict offsets.
        gamma: Unit of offsets in sides of the RoI.
        pool_mode: Of ``deform_roi_pool``: ``'aligned'``, or ``'legacy'`` for
            the released weights. RoIs have exclusive corners in both.
        sampling_ratio: Samples per bin and axis.
        with_cp: Compute the branches of TSD again in the backward pass, which
            saves their memory.
        init_cfg: Initialization; by default the official one, and the
            predictors of TSD like those of the sibling.
        **kwargs: Of ``Shared2FCBBoxHead``.

    Raises:
        TypeError: ``bbox_coder`` is no ``DeltaXYWHBBoxCoder``, or
            ``loss_bbox`` compares boxes.
        ValueError: An option is out of its range, or a margin is given without
            a sibling.
    """

    def __init__(
        self,
        *args: object,
        cls_pc_margin: float | None = 0.3,
        loc_pc_margin: float | None = 0.3,
        cls_offset: str = 'pixel',
        reg_offset: str = 'proposal',
        with_sibling: bool = True,
        offset_channels: int = 256,
        gamma: float = 0.1,
        pool_mode: str = 'aligned',
        sampling_ratio: int = 4,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, init_cfg=init_cfg, **kwargs)
        check_parts(self, bbox_coder=DeltaXYWHBBoxCoder)
        check_delta_loss(self)
        for name, margin in (
            ('cls_pc_margin', cls_pc_margin),
            ('loc_pc_margin', loc_pc_margin),
        ):
            if margin is not None and not 0 <= margin <= 1:
                raise ValueError(f'{name} must be 0 to 1, got {margin}')
            if margin is not None and not with_sibling:
                raise ValueError(
                    f'{name} must be None with with_sibling=False, got '
                    f'{margin}: there is nothing to compare with'
                )
        if not (self.with_cls and self.with_reg) or self.with_avg_pool:
            raise ValueError(
                'with_cls and with_reg must be True and with_avg_pool False'
            )
        if sampling_ratio < 1:
            raise ValueError(
                f'sampling_ratio must be positive, got {sampling_ratio}'
            )
        self.cls_pc_margin = cls_pc_margin
        self.loc_pc_margin = loc_pc_margin
        self.cls_offset = cls_offset
        self.reg_offset = reg_offset
        self.with_sibling = with_sibling
        self.gamma = gamma
        self.legacy = pick(
            dict(aligned=False, legacy=True), pool_mode, 'pool_mode'
        )
        self.sampling_ratio = sampling_ratio
        self.with_cp = with_cp
        self._add_offset_layers(offset_channels)
        self._add_branches()
        if init_cfg is None:
            self.init_cfg = self._initialization()

    def _add_offset_layers(self, channels: int) -> None:
        size = {'pixel': 2 * self.roi_feat_area, 'proposal': 2, 'none': 0}
        outs = [
            pick(size, getattr(self, name), name)
            for name in ('cls_offset', 'reg_offset')
        ]
        inputs = self.in_channels * self.roi_feat_area
        self.offset_fc = nn.Linear(inputs, channels) if any(outs) else None
        self.cls_offset_fcs, self.reg_offset_fcs = (
            nn.Sequential(
                nn.Linear(channels, channels),
                nn.ReLU(inplace=True),
                nn.Linear(channels, out),
            )
            if out
            else None
            for out in outs
        )

    def _add_branches(self) -> None:
        """Of TSD as of the sibling, which may then go."""
        for task, predictor in (('cls', self.fc_cls), ('reg', self.fc_reg)):
            fcs, width = self._add_conv_fc_branch(
                0, self.num_shared_fcs, self.in_channels, True
            )[1:]
            setattr(self, f'tsd_{task}_fcs', fcs)
            own = nn.Linear(width, predictor.out_features)
            setattr(self, f'tsd_fc_{task}', own)
        if not self.with_sibling:
            del self.shared_fcs, self.fc_cls, self.fc_reg

    def _initialization(self) -> list[dict]:
        hidden = [
            dict(name=name) for name in _HIDDEN if getattr(self, name, None)
        ]
        normal = [
            dict(type='Normal', std=std, override=dict(name=prefix + name))
            for name, std in (('fc_cls', 0.01), ('fc_reg', 0.001))
            for prefix in ('', 'tsd_')
            if hasattr(self, prefix + name)
        ]
        return [*normal, dict(_KAIMING, override=hidden)]

    def forward(
        self, x: Tensor, pyramid: PyramidRoIs | None = None
    ) -> dict[str, Tensor]:
        """Outputs of N RoIs.

        Args:
            x: (N, channels, P, P) features of the proposals.
            pyramid: Where they come from.

        Returns:
            dict: ``cls_score`` (N, C + 1) and ``bbox_pred`` (N, 4 C) of TSD,
            or (N, 4) if class-agnostic; in training the same of the sibling,
            ``sibling_cls_score`` and ``sibling_bbox_pred``.
        """
        if pyramid is None:
            raise TypeError(
                'TSDBBoxHead pools from the pyramid: use it in TSDRoIHead or '
                'TSDCascadeRoIHead'
            )
        if self.with_cp and torch.is_grad_enabled():
            cls_score, bbox_pred = checkpoint(
                self._tsd, x, pyramid, use_reentrant=False
            )
        else:
            cls_score, bbox_pred = self._tsd(x, pyramid)
        outputs = BoxOutputs(cls_score=cls_score, bbox_pred=bbox_pred)
        if self.training and self.with_sibling:
            sibling = self._hidden(self.shared_fcs, x)
            outputs['sibling_cls_score'] = self.fc_cls(sibling)
            outputs['sibling_bbox_pred'] = self.fc_reg(sibling)
        return outputs

    def _hidden(self, fcs: nn.ModuleList, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in fcs:
            x = F.relu(layer(x))
        return x

    def _tsd(self, x: Tensor, pyramid: PyramidRoIs) -> tuple[Tensor, Tensor]:
        delta_c, delta_r = self.offsets(x)
        cls_feats, reg_feats = self.task_feats(x, pyramid, delta_c, delta_r)
        cls_score = self.tsd_fc_cls(self._hidden(self.tsd_cls_fcs, cls_feats))
        bbox_pred = self.tsd_fc_reg(self._hidden(self.tsd_reg_fcs, reg_feats))
        if delta_r is not None and self.reg_offset == 'proposal':
            move = tsd.shift_deltas(delta_r, self.bbox_coder.stds, self.gamma)
            bbox_pred = bbox_pred + move.repeat(1, bbox_pred.shape[1] // 4)
        return cls_score, bbox_pred

    def offsets(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Offsets of N RoIs for classification and regression.

        Args:
            x: (N, channels, P, P) features of the proposals.

        Returns:
            tuple: (N, 2 P P), x of all bins before y, for ``'pixel'``; (N, 2)
            for ``'proposal'``; None for ``'none'``.
        """
        if self.offset_fc is None:
            return None, None
        hidden = F.relu(self.offset_fc(x.flatten(1)))
        delta_c, delta_r = (
            None if layers is None else layers(hidden)
            for layers in (self.cls_offset_fcs, self.reg_offset_fcs)
        )
        return delta_c, delta_r

    def task_feats(
        self,
        x: Tensor,
        pyramid: PyramidRoIs,
        delta_c: Tensor | None,
        delta_r: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Features for classification and regression.

        Both are pooled in one call, which lays out the pyramid once.

        Args:
            x: (N, channels, P, P) features of the proposals.
            pyramid: Where they come from.
            delta_c: Of :meth:`offsets`.
            delta_r: Of :meth:`offsets`.

        Returns:
            tuple: Two of (N, channels, P, P).
        """
        feats = [x, x]
        moved = {
            task: delta.unflatten(1, (2, delta.shape[1] // 2))
            for task, delta in enumerate((delta_c, delta_r))
            if delta is not None
        }
        if moved:
            pooled = pool_moved(
                pyramid,
                list(moved.values()),
                self.roi_feat_size[0],
                self.legacy,
                self.sampling_ratio,
                self.gamma,
            )
            for task, part in zip(moved, pooled, strict=True):
                feats[task] = part.to(x.dtype)
        return feats[0], feats[1]

    def loss_and_target(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        sampling_results: list,
        rcnn_train_cfg: ConfigDict,
        concat: bool = True,
        reduction_override: str | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """Losses and what they were computed from.

        Args:
            cls_score: (N, C + 1) logits.
            bbox_pred: (N, 4 C) deltas.
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            sampling_results: Sampled proposals of B images.
            rcnn_train_cfg: ``train_cfg.rcnn``.
            concat: Join the targets of the images.
            reduction_override: Replaces the reduction of the losses.
            **others: Further outputs of the head, passed on to ``loss``.

        Returns:
            dict: ``loss_bbox``, a dict of losses, and ``bbox_targets``.
        """
        if self.loc_pc_margin is not None:
            others['gt_bboxes'] = torch.cat(
                [
                    F.pad(
                        get_box_tensor(result.pos_gt_bboxes),
                        (0, 0, 0, len(result.neg_priors)),
                    )
                    for result in sampling_results
                ]
            )
        return super().loss_and_target(
            cls_score,
            bbox_pred,
            rois,
            sampling_results,
            rcnn_train_cfg,
            concat,
            reduction_override,
            num_images=len(sampling_results),
            **others,
        )

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
        *,
        num_images: int,
        gt_bboxes: Tensor | None = None,
        sibling_cls_score: Tensor | None = None,
        sibling_bbox_pred: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of N sampled RoIs of all images.

        Args:
            cls_score: (N, C + 1) logits of TSD, background last.
            bbox_pred: (N, 4 C) deltas of TSD, or (N, 4) if class-agnostic.
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            labels: (N,) int64 class, C for background.
            label_weights: (N,).
            bbox_targets: (N, 4) encoded boxes.
            bbox_weights: (N, 4), 0 for background.
            reduction_override: Replaces the reduction of the losses.
            num_images: Number B of images.
            gt_bboxes: (N, 4) matched boxes, anything for background.
            sibling_cls_score: Like ``cls_score``.
            sibling_bbox_pred: Like ``bbox_pred``.

        Returns:
            dict: ``loss_tsd_cls``, ``loss_tsd_bbox`` and ``tsd_acc``; with a
            sibling its ``loss_cls``, ``loss_bbox`` and ``acc``, and
            ``loss_pc_cls`` and ``loss_pc_loc``.
        """
        targets = (rois, labels, label_weights, bbox_targets, bbox_weights)
        own = self._of_one_head(
            cls_score, bbox_pred, *targets, reduction_override
        )
        losses = dict(
            loss_tsd_cls=own['loss_cls'],
            loss_tsd_bbox=own['loss_bbox'],
            tsd_acc=own['acc'],
        )
        if sibling_cls_score is None or sibling_bbox_pred is None:
            return losses
        losses |= self._of_one_head(
            sibling_cls_score, sibling_bbox_pred, *targets, reduction_override
        )
        positive = (labels >= 0) & (labels < self.num_classes)
        image = rois[:, 0].long()
        having = tsd.images_with(positive, image, num_images)
        if self.cls_pc_margin is not None:
            lack = tsd.deficit(
                _probability(sibling_cls_score, labels),
                _probability(cls_score, labels),
                self.cls_pc_margin,
            )
            losses['loss_pc_cls'] = tsd.mean_over_images(
                lack, torch.ones_like(positive), having, image
            )
        if self.loc_pc_margin is not None and gt_bboxes is not None:
            lack = tsd.deficit(
                self._ious(rois, sibling_bbox_pred, labels, gt_bboxes),
                self._ious(rois, bbox_pred, labels, gt_bboxes),
                self.loc_pc_margin,
            )
            losses['loss_pc_loc'] = tsd.mean_over_images(
                lack, positive, having, image
            )
        return losses

    def _of_one_head(
        self, cls_score: Tensor, *inputs: Any
    ) -> dict[str, Tensor]:
        """Mmdet's losses, of which none is missing without any RoI."""
        nothing = cls_score.sum() * 0
        found = super().loss(cls_score, *inputs)
        return dict(loss_cls=nothing, acc=nothing.detach()) | found

    def _ious(
        self, rois: Tensor, deltas: Tensor, labels: Tensor, gt_bboxes: Tensor
    ) -> Tensor:
        """IoU (N,) of the boxes of the labels' classes, in float32."""
        deltas = own_columns(deltas, labels).float()
        boxes = get_box_tensor(self.bbox_coder.decode(rois[:, 1:], deltas))
        return bbox_overlaps(boxes, gt_bboxes, is_aligned=True, eps=1.0)


def _probability(scores: Tensor, labels: Tensor) -> Tensor:
    """Softmax (N,) of the labels' classes, in float32."""
    return scores.float().softmax(1).gather(1, labels[:, None])[:, 0]
