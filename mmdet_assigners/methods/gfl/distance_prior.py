"""Base class of heads whose anchors predict distributions of distances."""

from collections.abc import Callable, Sequence

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from torch import Tensor, nn

from ...models.dense_heads.box_sigmas import BoxSigmaMixin
from ...models.dense_heads.flat_head import FlatBatch, FlatLossMixin
from ...models.task_modules.coders.anchor_point_coder import AnchorPointCoder
from ...ops.anchor_points import box_distances
from . import functional as gfl

PRIORS = ('general', 'gaussian', 'dirac')


class DistancePriorMixin(FlatLossMixin, BoxSigmaMixin, AnchorHead):
    """Mixin before a ``GFLHead``: three priors of the box output.

    The box output ``K`` of an anchor: 'general': 4 * (n + 1) logits of the
    bins 0, delta, ..., n * delta, side-major; 'gaussian': 4 means and 4
    ``log sigma^2`` in strides; 'dirac': 4 numbers for ``bbox_coder``.
    """

    reg_prior: str
    delta: float
    reg_max: int
    feat_channels: int
    integral: nn.Module
    loss_dfl: Callable | None
    loss_gaussian: nn.Module

    @property
    def rectified(self) -> bool:
        """Whether the first four numbers are distances, at least 0."""
        point_dirac = isinstance(self.bbox_coder, AnchorPointCoder)
        return self.reg_prior == 'gaussian' or point_dirac

    def check_coder(self) -> None:
        """Raises ValueError if the coder doesn't fit the prior."""
        distances = isinstance(self.bbox_coder, DistancePointBBoxCoder)
        if distances == (self.reg_prior == 'dirac'):
            raise ValueError(
                f'bbox_coder {type(self.bbox_coder).__name__} does not fit '
                f"reg_prior={self.reg_prior!r}: 'dirac' needs one that "
                'encodes boxes by anchors, the others DistancePointBBoxCoder'
            )

    def init_box_layers(self) -> None:
        """Replace the box output of ``GFLHead`` by that of the prior."""
        if self.reg_prior != 'general':
            self.gfl_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)
        if self.reg_prior == 'gaussian':
            self.gfl_alpha = nn.Conv2d(self.feat_channels, 4, 3, padding=1)

    def box_output(self, x: Tensor, scale: nn.Module) -> Tensor:
        """Box output (B, K, H_l, W_l) of one level.

        Args:
            x: (B, feat_channels, H_l, W_l) of the box tower.
            scale: The factor of the level; not for ``log sigma^2``.

        Returns:
            Tensor: In float32 or finer.
        """
        reg = scale(self.gfl_reg(x)).float()
        if self.rectified:
            reg = reg.relu()
        if self.reg_prior == 'gaussian':
            reg = torch.cat((reg, self.gfl_alpha(x).float()), 1)
        return reg

    def distances(self, pred: Tensor) -> Tensor:
        """Expected distances (..., 4) in strides of a box output (..., K)."""
        if self.reg_prior == 'gaussian':
            return pred[..., :4]
        return self.integral(pred).view(*pred.shape[:-1], 4)

    def distance_sigmas(self, pred: Tensor) -> Tensor:
        """Standard deviations (..., 4) in strides of a box output (..., K)."""
        if self.reg_prior == 'gaussian':
            return (pred[..., 4:] / 2).exp()
        return gfl.distance_spread(pred.unflatten(-1, (4, -1)), self.delta)

    def decode_level(
        self,
        pred: Tensor,
        priors: Tensor,
        stride: float,
        max_shape: Sequence[int],
    ) -> dict[str, Tensor]:
        """Boxes and their standard deviations, see ``BoxSigmaMixin``.

        Args:
            pred: (N, K) box output.
            priors: (N, 4) anchors in pixels.
            stride: In pixels.
            max_shape: Height and width of the image.

        Returns:
            dict: ``bboxes`` (N, 4) in pixels and, save with 'dirac',
            ``box_sigmas`` (N, 4).
        """
        if self.reg_prior == 'dirac':
            return super().decode_level(pred, priors, stride, max_shape)
        boxes = self.bbox_coder.decode(
            self.anchor_center(priors),
            self.distances(pred) * stride,
            max_shape,
        )
        return dict(
            bboxes=boxes, box_sigmas=self.distance_sigmas(pred) * stride
        )

    def decode(self, flat: FlatBatch) -> Tensor:
        """Boxes (B, P, 4) in pixels, the expectation of the prior."""
        if self.reg_prior == 'dirac':
            return super().decode(flat)
        ltrb = self.distances(flat.deltas) * flat.strides[:, None]
        centers = self.anchor_center(flat.batch_anchors)
        boxes = self.bbox_coder.decode(
            centers.flatten(0, 1), ltrb.flatten(0, 1)
        )
        return boxes.view_as(ltrb)

    def prior_loss(
        self,
        flat: FlatBatch,
        gt: Tensor,
        matched: Tensor,
        weight: Tensor,
        norm: Tensor,
    ) -> dict[str, Tensor]:
        """What teaches the distribution: DFL, a Gaussian's loss or nothing.

        Args:
            flat: Predictions, anchors and ground truths.
            gt: (B, P) ground truth of each anchor.
            matched: (B, P, 4) its box in pixels.
            weight: (B, P) weight of each anchor.
            norm: Scalar that the sum is divided by.

        Returns:
            dict: ``loss_dfl``, ``loss_gaussian`` or nothing.
        """
        centers = self.anchor_center(flat.anchors)
        target = box_distances(centers, matched) / flat.strides[:, None]
        weight = weight[..., None].expand_as(target)
        if self.reg_prior == 'gaussian':
            mean, log_var = flat.deltas.chunk(2, -1)
            positive = (gt >= 0)[..., None]
            loss = self.loss_gaussian(
                mean.where(positive, target).flatten(0, 1),
                log_var.where(positive, 0).flatten(0, 1),
                target.flatten(0, 1),
                weight.flatten(0, 1),
                avg_factor=4.0,
            )
            return dict(loss_gaussian=loss / norm)
        if self.loss_dfl is None:
            return {}
        target = gfl.clamp_distances(target, self.reg_max, self.delta)
        loss = self.loss_dfl(
            flat.deltas.reshape(-1, self.reg_max + 1),
            (target / self.delta).flatten(),
            weight=weight.flatten(),
            avg_factor=4.0,
        )
        return dict(loss_dfl=loss / norm)


def default_coder(reg_prior: str) -> dict:
    """Config of the box coder of a prior."""
    if reg_prior != 'dirac':
        return dict(type='DistancePointBBoxCoder')
    return dict(
        type='DeltaXYWHBBoxCoder',
        target_means=[0.0, 0.0, 0.0, 0.0],
        target_stds=[0.1, 0.1, 0.2, 0.2],
    )
