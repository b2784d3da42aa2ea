"""Dense local regression head of D2Det."""

import torch
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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of N RoIs.

        Args:
            x: (N, channels, 2S, 2S).

        Returns:
            tuple: Distances l, r, t, b (N, 4, S, S) in sides of the RoI, not
            negative, and logits (N, 1, S, S) of being on the object.
        """
        x = self.convs(x)
        return F.relu(self.conv_reg(x)), self.conv_mask(x)

    def loss(
        self, reg: Tensor, logits: Tensor, boxes: Tensor, gt_bboxes: Tensor
    ) -> dict[str, Tensor]:
        """Losses of N positive RoIs, in float32.

        Args:
            reg: (N, 4, S, S) of :meth:`forward`.
            logits: (N, 1, S, S) of :meth:`forward`.
            boxes: (N, 4) RoIs, x1, y1, x2, y2 in pixels.
            gt_bboxes: (N, 4) their objects.

        Returns:
            dict: ``loss_dense_bbox`` and ``loss_overlap``; 0 without RoIs.
        """
        points = d2det.cell_points(boxes, reg.shape[-1])
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


class InstanceBranch(nn.Module):
    """Masks of the RoIs and their IoUs, from the features of the head.

    Args:
        in_channels: Of the features.
        num_classes: Number C of classes.
        channels: Of the deconvolutions.
        groups: Of the group norm after the first one.
        fc_out_channels: Width of the two layers that predict IoUs.
        size: S, cells of a feature per axis.
    """

    def __init__(
        self,
        in_channels: int = 576,
        num_classes: int = 80,
        channels: int = 256,
        groups: int = 16,
        fc_out_channels: int = 1024,
        size: int = 7,
    ) -> None:
        super().__init__()
        self.deconv1 = nn.ConvTranspose2d(in_channels, channels, 2, stride=2)
        self.norm1 = nn.GroupNorm(groups, channels)
        self.deconv2 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.conv_instance = nn.Conv2d(channels, num_classes, 3, padding=1)
        inputs = (in_channels + 1) * size * size
        self.fcs = nn.ModuleList(
            nn.Linear(width, fc_out_channels)
            for width in (inputs, fc_out_channels)
        )
        self.fc_iou = nn.Linear(fc_out_channels, num_classes)

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of N RoIs.

        Args:
            x: (N, channels, S, S) features.
            labels: (N,) int64 class, whose mask the IoU is of.

        Returns:
            tuple: Logits of masks (N, C, 4S, 4S) and IoUs (N, C); the IoUs
            give no gradient to the masks.
        """
        hidden = F.relu(self.norm1(self.deconv1(x)))
        masks = self.conv_instance(F.relu(self.deconv2(hidden)))
        index = torch.arange(len(x), device=x.device)
        own = masks[index, labels][:, None].detach()
        small = F.max_pool2d(own, 4, stride=4, padding=1).sigmoid()
        out = torch.cat((x, small), 1).flatten(1)
        for layer in self.fcs:
            out = F.relu(layer(out))
        return masks, self.fc_iou(out)
