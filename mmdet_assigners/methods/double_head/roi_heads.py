"""Box head and RoI heads of Double-Head-Ext."""

from collections.abc import Sequence

from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import DoubleHeadRoIHead
from mmdet.models.roi_heads.bbox_heads import DoubleConvFCBBoxHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import ModuleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import check_delta_loss, pick
from ...models.roi_heads.dict_roi_head import (
    BoxOutputs,
    DictBBoxHeadMixin,
    DictCascadeRoIHead,
    DictRoIHead,
)
from .functional import fuse_scores, task_weights
from .layers import GroupNonLocal2d

_STD = dict(fc_cls=0.01, fc_cls_conv=0.01, fc_reg=0.001, fc_reg_fc=0.001)
_INIT = dict(
    type='Normal',
    override=[
        dict(type='Normal', name=name, std=std) for name, std in _STD.items()
    ]
    + [dict(type='Xavier', name='fc_branch', distribution='uniform')],
)
# outputs that a test mode takes: scores (two: fused), then boxes
_TEST_MODES = dict(
    conv=(('cls_score_conv',), 'bbox_pred'),
    fc=(('cls_score',), 'bbox_pred_fc'),
    fc_conv=(('cls_score',), 'bbox_pred'),
    ext=(('cls_score', 'cls_score_conv'), 'bbox_pred'),
)


@MODELS.register_module()
class DoubleHeadExtBBoxHead(DictBBoxHeadMixin, DoubleConvFCBBoxHead):
    """Fully connected and convolutional head that both classify and regress.

    Rethinking Classification and Localization for Object Detection, CVPR 2020,
    arXiv 1904.06493. mmdet's ``DoubleConvFCBBoxHead`` with

    - a grouped non-local block before each of the first bottlenecks;
    - ``fc_cls_conv`` and ``fc_reg_fc`` for the task that each head is not
      there for, which train with the weights ``1 - lambda``;
    - fused scores at test time, ``1 - (1 - s_fc) (1 - s_conv)``.

    Use it in a ``DoubleHeadExtRoIHead`` or ``DoubleHeadExtCascadeRoIHead``.
    With both lambdas 1, no non-local blocks and ``test_mode='fc_conv'`` it is
    mmdet's head, whose losses have the weights ``omega``.

    Args:
        *args: Of ``DoubleConvFCBBoxHead``.
        num_convs: Bottlenecks of the convolutional head; 2 in the paper.
        num_fcs: Layers of the fc head.
        num_nonlocal: Non-local blocks, at most ``num_convs``.
        nonlocal_channels: Channels inside these; by default half of
            ``conv_out_channels``.
        nonlocal_groups: Groups of these.
        lambda_fc: Share of the classification in the loss of the fc head.
        lambda_conv: Share of the boxes in the loss of the convolutional head.
        omega_fc: Weight of the loss of the fc head.
        omega_conv: Weight of the loss of the convolutional head.
        test_mode: What is evaluated: ``'ext'``, fused scores and boxes of the
            convolutional head; ``'fc_conv'``, scores of the fc head and boxes
            of the other (Double-Head); ``'conv'`` or ``'fc'``, one head alone.
        init_cfg: Initialization.
        **kwargs: Of ``DoubleConvFCBBoxHead``.

    Raises:
        ValueError: A lambda outside [0, 1], a negative omega, more non-local
            blocks than bottlenecks, an unknown ``test_mode``.
        TypeError: ``loss_bbox`` compares boxes.
    """

    def __init__(
        self,
        *args: object,
        num_convs: int = 2,
        num_fcs: int = 2,
        num_nonlocal: int = 2,
        nonlocal_channels: int | None = None,
        nonlocal_groups: int = 4,
        lambda_fc: float = 0.7,
        lambda_conv: float = 0.8,
        omega_fc: float = 2.0,
        omega_conv: float = 2.5,
        test_mode: str = 'ext',
        init_cfg: dict | list | None = _INIT,
        **kwargs: object,
    ) -> None:
        for name, share in (('fc', lambda_fc), ('conv', lambda_conv)):
            if not 0 <= share <= 1:
                raise ValueError(f'lambda_{name} must be 0 to 1, got {share}')
        for name, weight in (('fc', omega_fc), ('conv', omega_conv)):
            if weight < 0:
                raise ValueError(f'omega_{name} must be >= 0, got {weight}')
        if not 0 <= num_nonlocal <= num_convs:
            raise ValueError(
                f'num_nonlocal must be 0 to num_convs={num_convs}, got '
                f'{num_nonlocal}'
            )
        self.test_scores, self.test_boxes = pick(
            _TEST_MODES, test_mode, 'test_mode'
        )
        super().__init__(
            *args,
            num_convs=num_convs,
            num_fcs=num_fcs,
            init_cfg=init_cfg,
            **kwargs,
        )
        check_delta_loss(self)
        width = self.conv_out_channels
        self.nonlocal_branch = ModuleList(
            GroupNonLocal2d(
                width,
                nonlocal_channels or width // 2,
                nonlocal_groups,
                norm_cfg=self.norm_cfg,
            )
            for _ in range(num_nonlocal)
        )
        self.fc_cls_conv = nn.Linear(width, self.fc_cls.out_features)
        self.fc_reg_fc = nn.Linear(
            self.fc_out_channels, self.fc_reg.out_features
        )
        self.weights = task_weights(
            lambda_fc, lambda_conv, omega_fc, omega_conv
        )

    def forward(self, x_cls: Tensor, x_reg: Tensor) -> dict[str, Tensor]:
        """Outputs of N RoIs.

        Args:
            x_cls: (N, channels, height, width) features for the fc head.
            x_reg: (N, channels, height, width) features for the convolutional
                head.

        Returns:
            dict: ``cls_score`` (N, C + 1) of the fc head, ``bbox_pred``
            (N, 4 C) of the convolutional head, and what each says about the
            other's task, ``cls_score_conv`` (N, C + 1) and ``bbox_pred_fc``
            (N, 4 C).
        """
        x_conv = self.res_block(x_reg)
        for i, bottleneck in enumerate(self.conv_branch):
            if i < len(self.nonlocal_branch):
                x_conv = self.nonlocal_branch[i](x_conv)
            x_conv = bottleneck(x_conv)
        x_conv = self.avg_pool(x_conv).flatten(1)
        x_fc = x_cls.flatten(1)
        for layer in self.fc_branch:
            x_fc = self.relu(layer(x_fc))
        return BoxOutputs(
            cls_score=self.fc_cls(x_fc),
            bbox_pred=self.fc_reg(x_conv),
            cls_score_conv=self.fc_cls_conv(x_conv),
            bbox_pred_fc=self.fc_reg_fc(x_fc),
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
        cls_score_conv: Tensor,
        bbox_pred_fc: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of N sampled RoIs of all images.

        Args:
            cls_score: (N, C + 1) logits of the fc head, background last.
            bbox_pred: (N, 4 C) deltas of the convolutional head.
            rois: (N, 5), needed for decoded boxes.
            labels: (N,) int64 class, C for background.
            label_weights: (N,).
            bbox_targets: (N, 4) encoded boxes.
            bbox_weights: (N, 4), 0 for background.
            reduction_override: Replaces the reduction of the losses.
            cls_score_conv: (N, C + 1) logits of the convolutional head.
            bbox_pred_fc: (N, 4 C) deltas of the fc head.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and ``acc`` of each head, with
            its name behind.
        """
        targets = (
            rois,
            labels,
            label_weights,
            bbox_targets,
            bbox_weights,
            reduction_override,
        )
        losses: dict[str, Tensor] = {}
        for head, scores, deltas in (
            ('fc', cls_score, bbox_pred_fc),
            ('conv', cls_score_conv, bbox_pred),
        ):
            found = super().loss(scores, deltas, *targets)
            if len(scores) == 0:  # then mmdet has no loss of the classes
                zero = scores.sum()
                found = dict(loss_cls=zero, acc=zero.detach()) | found
            losses |= {f'{key}_{head}': loss for key, loss in found.items()}
        for name, weight in self.weights.items():
            losses[name] = losses[name] * weight
        return losses

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
        *,
        cls_score_conv: Tensor,
        bbox_pred_fc: Tensor,
    ) -> InstanceData:
        """One image; fused scores are no logits, so NMS is done here."""
        outputs = dict(
            cls_score=cls_score,
            bbox_pred=bbox_pred,
            cls_score_conv=cls_score_conv,
            bbox_pred_fc=bbox_pred_fc,
        )
        scores = [outputs[name] for name in self.test_scores]
        inputs = (roi, scores[0], outputs[self.test_boxes], img_meta, rescale)
        parent = super()._predict_by_feat_single
        if len(scores) == 1 or len(roi) == 0:
            return parent(*inputs, rcnn_test_cfg)
        results = parent(*inputs, None)
        results.scores = fuse_scores(*scores)
        if rcnn_test_cfg is None:
            return results
        dets, labels = multiclass_nms(
            results.bboxes,
            results.scores,
            rcnn_test_cfg.score_thr,
            rcnn_test_cfg.nms,
            rcnn_test_cfg.max_per_img,
        )
        return InstanceData(
            bboxes=dets[:, :-1], scores=dets[:, -1], labels=labels
        )


def double_features(
    extractor: BaseRoIExtractor,
    x: Sequence[Tensor],
    rois: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Features of RoIs and of the enlarged RoIs.

    The level of an enlarged RoI is that of the RoI.

    Args:
        extractor: Of a box head.
        x: Feature maps (B, channels, H_l, W_l).
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
        scale: Of the enlarged RoIs, about their centers.

    Returns:
        tuple: Two (N, channels, height, width).
    """
    maps = x[: extractor.num_inputs]
    return extractor(maps, rois), extractor(maps, rois, scale)


@MODELS.register_module()
class DoubleHeadExtRoIHead(DictRoIHead, DoubleHeadRoIHead):
    """RoI head of Faster R-CNN with a ``DoubleHeadExtBBoxHead``.

    Double-Head-Ext, CVPR 2020, arXiv 1904.06493. With mmdet's
    ``DoubleConvFCBBoxHead`` it is mmdet's ``DoubleHeadRoIHead``.

    Args:
        reg_roi_scale_factor: Enlarges the RoIs of the convolutional head; 1.3
            in the paper.
        **kwargs: Of ``StandardRoIHead``.
    """

    def __init__(
        self, reg_roi_scale_factor: float = 1.3, **kwargs: object
    ) -> None:
        super().__init__(reg_roi_scale_factor, **kwargs)
        check_scale(reg_roi_scale_factor)

    def box_feats(
        self, x: Sequence[Tensor], rois: Tensor
    ) -> tuple[Tensor, ...]:
        """Features of both heads.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.

        Returns:
            tuple: Features of the RoIs and of the enlarged ones.
        """
        feats = double_features(
            self.bbox_roi_extractor, x, rois, self.reg_roi_scale_factor
        )
        if self.with_shared_head:
            return tuple(map(self.shared_head, feats))
        return feats


@MODELS.register_module()
class DoubleHeadExtCascadeRoIHead(DictCascadeRoIHead):
    """RoI head of Cascade R-CNN whose stages are double heads.

    Double-Head-Ext, CVPR 2020, arXiv 1904.06493; the cascade is not in the
    paper. Each stage starts from the boxes of the convolutional head of the
    last one. The logits of each classifier are averaged over the stages before
    they are fused.

    Args:
        reg_roi_scale_factor: Enlarges the RoIs of the convolutional head; 1.3
            in the paper.
        **kwargs: Of ``CascadeRoIHead``.
    """

    def __init__(
        self, reg_roi_scale_factor: float = 1.3, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        check_scale(reg_roi_scale_factor)
        self.reg_roi_scale_factor = reg_roi_scale_factor

    def box_feats(
        self, stage: int, x: Sequence[Tensor], rois: Tensor
    ) -> tuple[Tensor, ...]:
        """Features of both heads of a stage.

        Args:
            stage: From 0.
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.

        Returns:
            tuple: Features of the RoIs and of the enlarged ones.
        """
        return double_features(
            self.bbox_roi_extractor[stage], x, rois, self.reg_roi_scale_factor
        )


def check_scale(factor: float) -> None:
    """Refuse a size of RoIs that is not positive."""
    if not factor > 0:
        raise ValueError(f'reg_roi_scale_factor must be > 0, got {factor}')
