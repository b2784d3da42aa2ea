"""Dense local regression head of D2Det."""

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from . import functional as d2det

_GN = dict(type='GN', num_groups=36)
_INIT = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', layer='GroupNorm', val=1),
    dict(type='Normal', std=0.001, override=dict(name='conv_reg')),
    dict(type='Normal', std=0.001, override=dict(name='conv_mask')),
)


@MODELS.register_module()
class D2DetHead(BaseModule):
    """A box for each cell of a RoI, and whether the cell is on the object.

    D2Det: Towards High Quality Object Detection and Instance Segmentation,
    CVPR 2020, section 3.1. Features of 2S x 2S cells become S x S; each
    predicts its distances to the sides of the object, in sides of the RoI.
    The box is the mean over the cells on the object. Use it in a
    ``D2DetRoIHead``.

    Args:
        in_channels: Of the RoI features.
        num_convs: 3x3 convolutions, the first of stride 2: 8.
        conv_channels: Their width.
        norm_cfg: Their normalization.
        variant: ``'v2'`` averages the box losses of the cells on the object
            over all cells (the authors' later code); ``'v1'`` multiplies the
            mean loss by the share of cells on the object (the code of the
            published numbers).
        loss_weight: Of the box loss: 1 for v2, 2 for v1 in the official
            configs.
        iou_floor: A box whose IoU is at most this one counts as this much
            better.
        init_cfg: Initialization.

    Raises:
        ValueError: ``variant`` or ``num_convs`` is out of its range.
    """

    def __init__(
        self,
        in_channels: int = 256,
        num_convs: int = 8,
        conv_channels: int = 576,
        norm_cfg: dict = _GN,
        variant: str = 'v2',
        loss_weight: float = 1.0,
        iou_floor: float = 0.1,
        init_cfg: dict | list | tuple = _INIT,
    ) -> None:
        super().__init__(list(init_cfg))
        if variant not in d2det.VARIANTS:
            raise ValueError(
                f'variant must be one of {", ".join(d2det.VARIANTS)}, got '
                f'{variant!r}'
            )
        if num_convs < 1:
            raise ValueError(f'num_convs must be positive, got {num_convs}')
        self.variant = variant
        self.loss_weight = loss_weight
        self.iou_floor = iou_floor
        self.convs = nn.Sequential(
            *(
                ConvModule(
                    conv_channels if i else in_channels,
                    conv_channels,
                    3,
                    stride=1 if i else 2,
                    padding=1,
                    norm_cfg=norm_cfg,
                    bias=False,
                )
                for i in range(num_convs)
            )
        )
        self.conv_reg = nn.Conv2d(conv_channels, 4, 3, padding=1)
        self.conv_mask = nn.Conv2d(conv_channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of N RoIs.

        Args:
            x: (N, channels, 2S, 2S).

        Returns:
            tuple: Distances l, r, t, b (N, 4, S, S) in sides of the RoI, not
            negative, logits (N, 1, S, S) of being on the object, and the
            features (N, conv_channels, S, S) that both are predicted from.
        """
        x = self.convs(x)
        return F.relu(self.conv_reg(x)), self.conv_mask(x), x

    def loss(
        self,
        reg: Tensor,
        logits: Tensor,
        boxes: Tensor,
        gt_bboxes: Tensor,
        overlap: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of N positive RoIs, in float32.

        Args:
            reg: (N, 4, S, S) of :meth:`forward`.
            logits: (N, 1, S, S) of :meth:`forward`.
            boxes: (N, 4) RoIs, x1, y1, x2, y2 in pixels.
            gt_bboxes: (N, 4) their objects.
            overlap: (N, 1, S, S) 0 or 1, the cells on the object, where its
                mask is known; None: by its box.

        Returns:
            dict: ``loss_dense_bbox`` and ``loss_overlap``; 0 without RoIs.
        """
        points = d2det.cell_points(boxes, reg.shape[-1])
        if overlap is None:
            overlap = d2det.overlap_targets(
                points, d2det.distances(points, gt_bboxes)
            )
        each = d2det.box_losses(
            d2det.decode(points, reg.float()), gt_bboxes, self.iou_floor
        )
        mean = d2det.weigh(each, overlap.flatten(1), self.variant)
        return dict(
            loss_dense_bbox=self.loss_weight * mean,
            loss_overlap=d2det.overlap_loss(logits.float(), overlap),
        )
