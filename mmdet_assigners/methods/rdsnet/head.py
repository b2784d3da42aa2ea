"""The object stream of RDSNet."""

import copy
from collections.abc import Sequence

from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.dense_heads.box_fields import BoxFieldsMixin, join_maps
from ...models.dense_heads.flat_head import FlatBatch
from ...models.dense_heads.flat_retina_head import FlatRetinaLossMixin
from ...models.task_modules.assigners._base import Assignment


@MODELS.register_module()
class RDSRetinaHead(FlatRetinaLossMixin, BoxFieldsMixin, RetinaHead):
    """RetinaNet's head that also represents each object for its mask.

    The object stream of RDSNet: A New Deep Architecture for Reciprocal Object
    Detection and Instance Segmentation, AAAI 2020, arXiv 1912.05070. A third
    tower ``rep_convs`` predicts for each anchor the numbers with which
    ``RDSMaskHead`` looks for its pixels: ``rep_channels`` for the background,
    then as many for the foreground. Losses are those of RetinaNet; the
    representations learn from the masks. Without a mask head it is a
    RetinaNet.

    Predictions carry ``reps`` (N, 2 * rep_channels).

    Args:
        *args: Of ``RetinaHead``.
        rep_channels: Channels d of the pixels' embedding; 32 in the paper.
        **kwargs: Of ``RetinaHead``.

    Raises:
        ValueError: ``rep_channels`` is less than 1, or ``train_cfg.sampler``
            samples.
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """

    out_names = ('cls_scores', 'bbox_preds', 'rep_preds')

    def __init__(
        self, *args: object, rep_channels: int = 32, **kwargs: object
    ) -> None:
        if rep_channels < 1:
            raise ValueError(
                f'rep_channels must be at least 1, got {rep_channels}'
            )
        self.rep_channels = rep_channels  # read by the parent's constructor
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.rep_convs = copy.deepcopy(self.reg_convs)
        self.retina_rep = nn.Conv2d(
            self.retina_reg.in_channels,
            self.num_base_priors * 2 * self.rep_channels,
            3,
            padding=1,
        )

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of a level.

        Args:
            x: (B, channels, H, W).

        Returns:
            tuple: Logits (B, A * C, H, W), deltas (B, A * 4, H, W) and
            representations (B, A * 2 d, H, W).
        """
        cls_score, bbox_pred = super().forward_single(x)
        for layer in self.rep_convs:
            x = layer(x)
        return cls_score, bbox_pred, self.retina_rep(x)

    def assign_flat(self, flat: FlatBatch) -> Assignment:
        """The assignment, which :meth:`get_positive_infos` gives, too."""
        assignment = super().assign_flat(flat)
        self._raw_positive_infos = dict(flat=flat, gt=assignment.gt)
        return assignment

    def get_positive_infos(self) -> InstanceList:
        """The positive anchors of the last losses; they are given once.

        Returns:
            list: B instances with ``pos_inds`` and ``pos_assigned_gt_inds``
            (N,), ``reps`` (N, 2 d) and the ground truth ``bboxes`` (N, 4) in
            pixels.
        """
        flat = self._raw_positive_infos['flat']
        assigned = self._raw_positive_infos['gt']
        self._raw_positive_infos = {}
        infos = []
        for gt, reps, boxes in zip(
            assigned, flat.others[0], flat.boxes, strict=True
        ):
            index = (gt >= 0).nonzero()[:, 0]
            infos.append(
                InstanceData(
                    pos_inds=index,
                    pos_assigned_gt_inds=gt[index],
                    reps=reps[index],
                    bboxes=boxes[gt[index]],
                )
            )
        return infos

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        rep_preds: Sequence[Tensor],
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of B images.

        Args:
            cls_scores: L class logits (B, A * C, H_l, W_l).
            bbox_preds: L deltas (B, A * 4, H_l, W_l).
            rep_preds: L representations (B, A * 2 d, H_l, W_l).
            batch_img_metas: Meta information of B images.
            cfg: Replaces ``test_cfg``.
            rescale: Give boxes in the original image.
            with_nms: False: leave out NMS.

        Returns:
            list: B instances with ``reps`` among their fields.
        """
        return super().predict_by_feat(
            cls_scores,
            join_maps(self.num_base_priors, bbox_preds, rep_preds),
            batch_img_metas=batch_img_metas,
            cfg=cfg,
            rescale=rescale,
            with_nms=with_nms,
        )

    def decode_level(
        self,
        pred: Tensor,
        priors: Tensor,
        stride: float,
        max_shape: Sequence[int],
    ) -> dict[str, Tensor]:
        """Boxes and their representations, see ``BoxFieldsMixin``.

        Args:
            pred: (N, 4 + 2 d) deltas and representation.
            priors: (N, 4) anchors in pixels.
            stride: Not used.
            max_shape: Height and width of the image.

        Returns:
            dict: ``bboxes`` (N, 4) in pixels and ``reps`` (N, 2 d).
        """
        deltas, reps = pred.split((4, 2 * self.rep_channels), -1)
        boxes = super().decode_level(deltas, priors, stride, max_shape)
        return dict(boxes, reps=reps)
