"""YOLOv3's head with a loss of the boxes' IoU."""

from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ...models.dense_heads.flat_head import FlatBatch
from ...models.dense_heads.flat_yolov3_head import FlatYOLOV3Head

_LOSS = dict(type='GIoULoss', loss_weight=0.5, reduction='sum')


@MODELS.register_module()
class IoUYOLOV3Head(FlatYOLOV3Head):
    """YOLOv3 whose boxes are trained by GIoU or CIoU.

    One loss of decoded boxes takes the place of those of x, y and w, h, as in
    the detectors CSPResNeXt50-PANet-SPP-GIoU and -CIoU of
    WongKinYiu/CrossStagePartialNetworks. Objectness and classes keep YOLOv3's.
    Losses are sums over the batch. As in YOLOv3, the center of a ground truth
    is clamped to the cell of its anchor.

    Args:
        *args: Of ``FlatYOLOV3Head``.
        loss_bbox: Config of the loss; officially GIoU of weight 0.5 or CIoU
            of weight 0.07.
        **kwargs: Of ``FlatYOLOV3Head``, except ``loss_xy`` and ``loss_wh``.

    Raises:
        TypeError: ``loss_xy`` or ``loss_wh`` is given.
    """

    def __init__(
        self, *args: object, loss_bbox: dict = _LOSS, **kwargs: Any
    ) -> None:
        for name in ('loss_xy', 'loss_wh'):
            if name in kwargs:
                raise TypeError(
                    f'IoUYOLOV3Head has loss_bbox instead of {name}, got '
                    f'{kwargs[name]}'
                )
        super().__init__(*args, **kwargs)
        del self.loss_xy, self.loss_wh
        self.loss_bbox = MODELS.build(loss_bbox)

    def box_losses(
        self,
        flat: FlatBatch,
        target: Tensor,
        positive: Tensor,
        scale: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of the boxes.

        Args:
            flat: Predictions, anchors and ground truths.
            target: (B, P, 4) encoded x, y, w, h.
            positive: (B, P) bool.
            scale: (B, P), not used.

        Returns:
            dict: ``loss_bbox``, a scalar.
        """
        # the others must not overflow, nor be equal: CIoU is 0 / 0 there
        pred, gt = (
            self.bbox_coder.decode(
                flat.anchors,
                torch.where(
                    positive[..., None], x, x.new_tensor([0.5, 0.5, log, log])
                ),
                flat.strides[:, None],
            )
            for x, log in ((flat.deltas, 0.0), (target, 0.5))
        )
        loss = self.loss_bbox(
            pred.flatten(0, 1),
            gt.flatten(0, 1),
            weight=positive.flatten().to(pred),
        )
        return dict(loss_bbox=loss)
