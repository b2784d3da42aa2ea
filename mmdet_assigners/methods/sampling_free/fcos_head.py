"""FCOS in the manner of Sampling-Free."""

from mmdet.models.dense_heads import FCOSHead
from mmdet.registry import MODELS
from torch import Tensor, nn

from ...models.dense_heads.flat_points import FlatPoints, FlatPointsMixin
from ...ops.anchor_match import gather_gts
from . import functional as sampling_free
from .guided_loss import SamplingFreeMixin, prior_init


@MODELS.register_module()
class SamplingFreeFCOSHead(FlatPointsMixin, SamplingFreeMixin, FCOSHead):
    """FCOS without focal loss and without centerness.

    The paper names an FCOS variant, its details are not established and the
    official code has none: these are the same three pieces with locations as
    candidates. The box loss is the mean over the positives, all of weight 1.

    Args:
        *args: Of ``FCOSHead``.
        prior_prob: Initial probability of each class, N_f / (N C) of the
            dataset. An own ``init_cfg`` replaces it.
        guided: Rescale the classification loss to the box loss.
        sync: Take the ratio of the mean losses of all processes.
        **kwargs: Of ``FCOSHead``; what is said of centerness has no effect.

    Raises:
        ValueError: ``prior_prob`` is not in (0, 1).
        TypeError: ``loss_cls`` is not ``CrossEntropyLoss`` with sigmoid.
    """

    assignment_uses_predictions = False
    out_names = ('cls_scores', 'bbox_preds')

    def __init__(
        self,
        *args: object,
        prior_prob: float = 1e-4,
        guided: bool = True,
        sync: bool = False,
        **kwargs: object,
    ) -> None:
        kwargs.setdefault('init_cfg', prior_init('conv_cls', prior_prob))
        super().__init__(*args, **kwargs)
        self._set_guide(guided, sync)

    def _init_layers(self) -> None:
        """FCOS' layers; the centerness has no parameters."""
        super()._init_layers()
        self.conv_centerness = nn.Identity()

    def forward_single(self, *args: object) -> tuple[Tensor, Tensor]:
        """Class logits (B, C, H, W) and distances (B, 4, H, W) of a level."""
        return super().forward_single(*args)[:2]

    def loss_flat(self, flat: FlatPoints) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            dict: ``loss_cls`` and ``loss_bbox``, scalars.
        """
        gt = self.assign_flat(flat)
        positive = (gt >= 0).flatten()
        distances = flat.reg
        if self.norm_on_bbox:
            distances = distances * flat.points.stride[:, None]
        pred = self.bbox_coder.decode(
            flat.points.xy.expand(len(gt), -1, -1), distances
        )
        # a box of its own for points without one: any finite loss
        target = gather_gts(flat.boxes, gt).where(
            (gt >= 0)[..., None], pred.detach()
        )
        reg = self.loss_bbox(
            pred.flatten(0, 1),
            target.flatten(0, 1),
            reduction_override='none',
        )
        own = gather_gts(flat.labels, gt).where(gt >= 0, self.num_classes)
        cls = self.class_losses(flat.cls.flatten(0, 1), own.flatten())
        num_positives = positive.sum()
        return self.guided_losses(
            cls.sum() / (num_positives + len(gt)),
            sampling_free.masked_sum(reg, positive)
            / num_positives.clamp(min=1),
        )
