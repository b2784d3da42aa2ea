"""One head for every row of the tables of ATSS."""

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import ATSSHead
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import check_delta_loss
from ...models.dense_heads.flat_head import (
    FlatBatch,
    FlatLossMixin,
    refuse_sampling,
)
from ...models.task_modules.assigners._base import Assignment, BatchAssigner
from ...models.task_modules.coders.anchor_point_coder import AnchorPointCoder
from ...ops.anchor_points import box_distances, centerness
from .functional import box_centers


@MODELS.register_module()
class ATSSLadderHead(FlatLossMixin, ATSSHead):
    """From RetinaNet with one anchor to FCOS and ATSS, an option per step.

    Bridging the Gap Between Anchor-based and Anchor-free Detection via
    Adaptive Training Sample Selection, CVPR 2020, arXiv 1912.02424, section 3
    and table 1. With all defaults it is mmdet's ``ATSSHead``: same
    parameters, targets and losses (up to the order of summation). The steps
    are:

    ============== ====================================================
    GroupNorm      ``norm_cfg``, or None
    GIoU           ``loss_bbox``: ``GIoULoss`` on boxes, ``SmoothL1Loss`` on
                   deltas
    In-GT-Box      ``outside`` of ``CenterInGTMaxIoUAssigner``
    Centerness     ``use_centerness``
    Scalar         ``use_scale``
    box or point   ``bbox_coder``: ``AnchorPointCoder`` for points
    positives      ``train_cfg.assigner``
    ============== ====================================================

    The losses of all levels and images are computed at once and do not
    synchronize with the device. Differences from the official code: the
    normalizers (``official_norm``), the score (``sqrt_score``), towers without
    bias under a norm (``conv_bias``), and the top boxes of a level are chosen
    before scores are multiplied by the centerness (mmdet's post-processing, no
    option).

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the feature maps.
        use_centerness: Predict the centerness: it multiplies scores, and its
            target weighs the box loss. Otherwise all positives weigh 1.
        use_scale: A learnable factor of the box output per level.
        sqrt_score: Scores are the square root of class score times
            centerness (official; mmdet: without the root).
        official_norm: The batch counts at least one positive, and the sum of
            centerness targets is taken as it is; otherwise, as in mmdet, each
            image counts at least one and the sum is at least 1.
        reg_decoded_bbox: Box loss on boxes in pixels instead of encoded ones.
            None: if the name of the box loss has 'IoU' in it.
        conv_bias: Bias of the towers; 'auto' if there is no norm.
        dcn_on_last_conv: Deformable (v2) last convolution of the towers.
        init_cfg: Initialization; by default N(0, 0.01), class prior 0.01 and,
            for points, bias 4 of the box output.
        **kwargs: Further arguments of ``ATSSHead``.

    Raises:
        ValueError: The assigner isn't one of this package, a sampler samples,
            ``sqrt_score`` without centerness, or ``AnchorPointCoder`` with
            several anchors per location.
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        use_centerness: bool = True,
        use_scale: bool = True,
        sqrt_score: bool = False,
        official_norm: bool = False,
        reg_decoded_bbox: bool | None = None,
        conv_bias: bool | str = 'auto',
        dcn_on_last_conv: bool = False,
        init_cfg: dict | list | None = None,
        **kwargs: object,
    ) -> None:
        if sqrt_score and not use_centerness:
            raise ValueError('sqrt_score=True needs use_centerness=True')
        self.use_centerness = (
            use_centerness  # read by the parent's constructor
        )
        self.use_scale = use_scale
        self.conv_bias = conv_bias
        self.dcn_on_last_conv = dcn_on_last_conv
        super().__init__(
            num_classes,
            in_channels,
            reg_decoded_bbox=bool(reg_decoded_bbox),
            init_cfg=init_cfg,
            **kwargs,
        )
        self.sqrt_score = sqrt_score
        self.official_norm = official_norm
        if reg_decoded_bbox is None:
            self.reg_decoded_bbox = 'IoU' in type(self.loss_bbox).__name__
        self.point_regression = isinstance(self.bbox_coder, AnchorPointCoder)
        if init_cfg is None:
            self.init_cfg = _default_init(self.point_regression)
        self._check()

    @property
    def out_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of what ``forward`` returns."""
        names = ('cls_scores', 'bbox_preds', 'centernesses')
        return names if self.use_centerness else names[:2]

    def _check(self) -> None:
        if self.point_regression and self.num_base_priors != 1:
            raise ValueError(
                'AnchorPointCoder needs one anchor per location, the anchor '
                f'generator makes {self.num_base_priors}'
            )
        assigner = getattr(self, 'assigner', None)
        if assigner is not None and not isinstance(assigner, BatchAssigner):
            raise ValueError(
                'train_cfg.assigner must be one of mmdet_assigners, such as '
                'BatchATSSAssigner or CenterInGTMaxIoUAssigner, got '
                f'{type(assigner).__name__}'
            )
        refuse_sampling(self)
        check_delta_loss(self)

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.dcn_on_last_conv or self.conv_bias != 'auto':
            self.cls_convs, self.reg_convs = self._tower(), self._tower()
        if not self.use_centerness:
            del self.atss_centerness
        if not self.use_scale:
            levels = len(self.prior_generator.strides)
            self.scales = nn.ModuleList(nn.Identity() for _ in range(levels))

    def _tower(self) -> nn.ModuleList:
        layers = nn.ModuleList()
        for i in range(self.stacked_convs):
            conv_cfg = self.conv_cfg
            if self.dcn_on_last_conv and i == self.stacked_convs - 1:
                conv_cfg = dict(type='DCNv2')
            layers.append(
                ConvModule(
                    self.feat_channels if i else self.in_channels,
                    self.feat_channels,
                    3,
                    padding=1,
                    conv_cfg=conv_cfg,
                    norm_cfg=self.norm_cfg,
                    bias=self.conv_bias,
                )
            )
        return layers

    def forward_single(self, x: Tensor, scale: nn.Module) -> tuple:
        """Predictions of one level.

        Args:
            x: (B, in_channels, H_l, W_l).
            scale: The factor of the level.

        Returns:
            tuple: Class logits (B, A * C, H_l, W_l), encoded boxes
            (B, A * 4, H_l, W_l), at least 0 for points, and with
            ``use_centerness`` its logits (B, A, H_l, W_l).
        """
        cls_feat = reg_feat = x
        for layer in self.cls_convs:
            cls_feat = layer(cls_feat)
        for layer in self.reg_convs:
            reg_feat = layer(reg_feat)
        deltas = scale(self.atss_reg(reg_feat)).float()
        if self.point_regression:
            deltas = deltas.relu()
        if self.use_centerness:
            return (
                self.atss_cls(cls_feat),
                deltas,
                self.atss_centerness(reg_feat),
            )
        return self.atss_cls(cls_feat), deltas

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths; the logits of the
                centerness (B, P, 1) are the first of ``others``.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and, with ``use_centerness``,
            ``loss_centerness``.
        """
        gt = self.assign_flat(flat).gt
        positive = (gt >= 0).to(flat.cls)
        target = self.matched_boxes(flat, gt)
        weight = self._box_weight(flat, gt)
        count = positive.sum(1).clamp(min=0 if self.official_norm else 1)
        norms = reduce_mean(torch.stack((count.sum(), weight.sum())))
        num_pos = norms[0].clamp(min=1)

        losses = dict(
            loss_cls=self.loss_cls(
                flat.cls.flatten(0, 1),
                self.matched_labels(flat, gt).flatten(),
                self.label_weights(flat, gt).flatten(),
                avg_factor=num_pos,
            )
        )
        if self.reg_decoded_bbox:
            pred = self.decode(flat)
        else:
            pred, target = flat.deltas, self.encode(flat, target)
        # boxes of other anchors may be infinite, and 0 * inf is NaN
        pred = pred.where((gt >= 0)[..., None], target)
        box_loss = self.loss_bbox(
            pred.flatten(0, 1),
            target.flatten(0, 1),
            reduction_override='none',
        ).view(*gt.shape, -1)
        box_loss = box_loss.sum(-1)
        if not self.use_centerness:
            losses['loss_bbox'] = weight_reduce_loss(
                box_loss, weight, avg_factor=num_pos
            )
        else:
            floor = torch.finfo(norms.dtype).tiny if self.official_norm else 1
            box_loss = weight_reduce_loss(box_loss, weight, avg_factor=1.0)
            losses['loss_bbox'] = box_loss / norms[1].clamp(min=floor)
            losses['loss_centerness'] = self.loss_centerness(
                flat.others[0].flatten(),
                weight.flatten(),
                positive.flatten(),
                avg_factor=num_pos,
            )
        return losses

    def _box_weight(self, flat: FlatBatch, gt: Tensor) -> Tensor:
        """Weight (B, P) of the box loss: the centerness target, or 1."""
        positive = (gt >= 0).to(flat.cls)
        if not self.use_centerness:
            return positive
        ltrb = box_distances(
            box_centers(flat.anchors), self.matched_boxes(flat, gt)
        )
        return centerness(ltrb) * positive

    def assignment_weight(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor:
        """Loss weight (B, P), for the analysis tools; that of the boxes."""
        weight = super().assignment_weight(flat, assignment)
        box_weight = self._box_weight(flat, assignment.gt)
        return box_weight.where(assignment.gt >= 0, weight)

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        if self.sqrt_score:
            results.scores = results.scores.sqrt()
            results.score_factors = results.score_factors.sqrt()
        return super()._bbox_post_process(
            results, cfg, rescale, with_nms, img_meta
        )


def _default_init(point_regression: bool) -> dict:
    override = [dict(type='Normal', name='atss_cls', std=0.01, bias_prob=0.01)]
    if point_regression:
        override.append(dict(type='Normal', name='atss_reg', std=0.01, bias=4))
    return dict(type='Normal', layer='Conv2d', std=0.01, override=override)
