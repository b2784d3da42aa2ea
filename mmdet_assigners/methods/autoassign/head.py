"""AutoAssign with options for its weights."""

from typing import Any

import torch
from mmcv.cnn import Scale
from mmdet.models.dense_heads import AnchorFreeHead, AutoAssignHead
from mmdet.models.losses import GIoULoss
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ...models.dense_heads.flat_points import FlatPoints, FlatPointsMixin
from . import functional as autoassign

OBJECTNESS = ('implicit', 'none', 'explicit')
_GIOU = dict(type='GIoULoss', loss_weight=5.0)


@MODELS.register_module()
class AutoAssignAblationHead(FlatPointsMixin, AutoAssignHead):
    """AutoAssign head whose weights can be replaced or turned off.

    Every point inside an object is a positive and a negative candidate. Its
    positive weight is C(P) G, normalized over the object's points: G a
    Gaussian round the object's center that is learned per class, C(P) =
    exp(P / tau) with P = P(cls) P(obj) P(loc); its negative weight falls with
    the IoU of the prediction.

    Paper: AutoAssign: Differentiable Label Assignment for Dense Object
    Detection, arXiv 2007.03496, Sec. 3. With the defaults network, losses and
    detections are those of mmdet's ``AutoAssignHead``, computed for the whole
    batch: equal up to the order of summation.

    Differences from the official code are those of ``AutoAssignHead``: no
    center loss for an image whose objects hold no point, and threshold and
    best 1000 by class score before the product with objectness. No
    option restores them.

    ``loss_bbox`` is read, not called: P(loc) = exp(-lambda (1 - GIoU)).

    Args:
        *args: Arguments of ``AutoAssignHead``.
        center_prior: 'category': a Gaussian per class (paper); 'shared': one
            for all; 'fixed': mean 0 and deviation 1 stride; 'none': 1 in the
            box. The last two have no center loss.
        confidence: What C uses: 'joint' P (paper), 'cls' P(cls) P(obj)
            alone, 'loc' P(loc) alone, 'none' C = 1. Bags sum w P always.
        objectness: 'implicit': a branch without loss of its own (paper);
            'none': no branch; 'explicit': the branch learns whether a point
            is inside any object, with ``loss_centerness`` divided by their
            number, and the other losses don't train it.
        neg_weight: For the object's class inside its box: 'iou' (paper),
            'one' or 'zero'.
        tau: Temperature of C; 1/3 in the paper.
        lambda_loc: lambda; None for the weight of ``loss_bbox``, 5 in the
            paper.
        loss_bbox: ``GIoULoss``; eps and loss weight are used.
        **kwargs: Arguments of ``AutoAssignHead``.

    Raises:
        ValueError: An option is unknown or a number is out of its range.
        TypeError: ``loss_bbox`` is of another type.
    """

    assignment_uses_predictions = True
    center_prior: Any

    def __init__(
        self,
        *args: object,
        center_prior: str = 'category',
        confidence: str = 'joint',
        objectness: str = 'implicit',
        neg_weight: str = 'iou',
        tau: float = 1 / 3,
        lambda_loc: float | None = None,
        loss_bbox: dict = _GIOU,
        **kwargs: object,
    ) -> None:
        if objectness not in OBJECTNESS:
            raise ValueError(
                f'objectness must be one of {", ".join(OBJECTNESS)}, got '
                f'{objectness!r}'
            )
        self.objectness = objectness  # read by the parent's constructor
        super().__init__(*args, loss_bbox=loss_bbox, **kwargs)
        if not isinstance(self.loss_bbox, GIoULoss):
            raise TypeError(f'loss_bbox must be a GIoULoss, got {loss_bbox}')
        if lambda_loc is None:
            lambda_loc = self.loss_bbox.loss_weight
        prior = self.center_prior
        self.rules = autoassign.Rules(
            center_prior=center_prior,
            confidence=confidence,
            neg_weight=neg_weight,
            tau=tau,
            lambda_loc=lambda_loc,
            force_topk=prior.topk if prior.force_topk else 0,
            giou_eps=self.loss_bbox.eps,
        )
        if center_prior == 'shared':
            prior.mean = nn.Parameter(prior.mean.data[:1].clone())
            prior.sigma = nn.Parameter(prior.sigma.data[:1].clone())
        elif center_prior in ('fixed', 'none'):
            self.center_prior = None

    @property
    def out_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of what ``forward`` returns."""
        names = ('cls_scores', 'bbox_preds', 'objectnesses')
        return names if self.objectness != 'none' else names[:2]

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.objectness == 'none':
            del self.conv_centerness

    def forward_single(
        self, x: Tensor, scale: Scale, stride: int
    ) -> tuple[Tensor, ...]:
        """Predictions of one level.

        Args:
            x: (B, in_channels, H, W).
            scale: Scalar of the level.
            stride: In pixels.

        Returns:
            tuple: Class logits (B, C, H, W), distances (B, 4, H, W) in pixels
            and, unless ``objectness='none'``, its logits (B, 1, H, W).
        """
        if self.objectness != 'none':
            return super().forward_single(x, scale, stride)
        scores, reg, *_ = AnchorFreeHead.forward_single(self, x)
        return scores, scale(reg).float().clamp(min=0) * stride

    def loss_flat(self, flat: FlatPoints) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions (B, P, C) and (B, P, 4), points and ground
                truths.

        Returns:
            dict: ``loss_pos``, ``loss_neg``, ``loss_center`` and, with
            ``objectness='explicit'``, ``loss_obj``.
        """
        bags = self._bags(flat)
        sums = autoassign.loss_sums(bags, self.rules)
        local = [sums.num_gt.to(sums.prior), sums.prior]
        if self.objectness == 'explicit':
            inside = autoassign.in_any_bag(bags, self.rules).to(sums.prior)
            local.append(inside.sum())
        # one all-reduce for all normalizers
        norm = reduce_mean(torch.stack(local)).clamp(min=1)
        losses = dict(
            loss_pos=self.pos_loss_weight * (sums.positive / norm[0]),
            loss_neg=self.neg_loss_weight * (sums.negative / norm[1]),
            loss_center=self.center_loss_weight * sums.center,
        )
        if self.objectness == 'explicit' and flat.factor is not None:
            losses['loss_obj'] = self.loss_centerness(
                flat.factor.flatten(), inside.flatten(), avg_factor=norm[2]
            )
        return losses

    def _bags(self, flat: FlatPoints) -> autoassign.BagInputs:
        probs = flat.cls.sigmoid()
        if flat.factor is not None:
            objectness = flat.factor.sigmoid()[..., None]
            if self.objectness == 'explicit':
                objectness = objectness.detach()
            probs = probs * objectness
        if self.center_prior is None:  # not looked at
            mean = sigma = flat.reg.new_ones(1, 2)
        else:
            mean = self.center_prior.mean.to(flat.reg)
            sigma = self.center_prior.sigma.to(flat.reg)
        return autoassign.BagInputs(
            flat.points.xy,
            flat.points.stride,
            probs,
            autoassign.boxes_of(flat.points.xy, flat.reg),
            mean,
            sigma,
            flat.boxes,
            flat.labels,
            flat.mask,
        )

    def assigned(self, flat: FlatPoints) -> tuple[Tensor, Tensor]:
        """The object in whose bag each point counts most.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            tuple: Index (B, P), -1 outside of all bags, and the positive
            weight (B, P) relative to the largest of the bag.
        """
        return autoassign.strongest_bag(self._bags(flat), self.rules)
