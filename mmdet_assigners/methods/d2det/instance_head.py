"""Instance branch of D2Det: masks and their IoUs."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmdet.structures.mask import mask_target
from mmdet.utils import ConfigType, InstanceList
from mmengine.config import ConfigDict
from mmengine.model import caffe2_xavier_init, normal_init
from torch import Tensor, nn

from . import functional as d2det

_BCE = dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)


@MODELS.register_module()
class D2DetInstanceHead(FCNMaskHead):
    """Masks of RoIs from the features of the dense head, and their IoUs.

    D2Det: Towards High Quality Object Detection and Instance Segmentation,
    CVPR 2020, section 3.3. Two deconvolutions make 4S x 4S of S x S cells.
    The IoU with the whole instance is predicted from the features and the
    mask. Use it as ``mask_head`` of a ``D2DetRoIHead``.

    Args:
        in_channels: Of the features, ``conv_channels`` of the dense head.
        num_classes: Number C of classes.
        conv_out_channels: Of the deconvolutions.
        num_groups: Of the group norm after the first one.
        fc_out_channels: Width of the two layers before the IoUs.
        roi_feat_size: S, cells of a feature per axis.
        loss_mask: Loss of the mask of the class.
        iou_loss_weight: Of the squared error of the IoUs.
        iou_score_weight: The score of a mask is that of the box plus this
            share of the predicted IoU.
        mask_logit_thr: A logit above it is in the mask whose IoU is learned.
    """

    def __init__(
        self,
        in_channels: int = 576,
        num_classes: int = 80,
        conv_out_channels: int = 256,
        num_groups: int = 16,
        fc_out_channels: int = 1024,
        roi_feat_size: int = 7,
        loss_mask: ConfigType = _BCE,
        iou_loss_weight: float = 0.5,
        iou_score_weight: float = 0.3,
        mask_logit_thr: float = 0.5,
    ) -> None:
        super().__init__(
            num_convs=0,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            conv_out_channels=conv_out_channels,
            num_classes=num_classes,
            loss_mask=loss_mask,
        )
        self.iou_loss_weight = iou_loss_weight
        self.iou_score_weight = iou_score_weight
        self.mask_logit_thr = mask_logit_thr
        channels = conv_out_channels
        self.norm = nn.GroupNorm(num_groups, channels)
        self.upsample2 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.conv_logits = nn.Conv2d(channels, num_classes, 3, padding=1)
        inputs = (in_channels + 1) * roi_feat_size**2
        self.fcs = nn.ModuleList(
            nn.Linear(width, fc_out_channels)
            for width in (inputs, fc_out_channels)
        )
        self.fc_iou = nn.Linear(fc_out_channels, num_classes)

    def init_weights(self) -> None:
        """Initialize as mmdet's mask and mask IoU heads."""
        super().init_weights()
        nn.init.kaiming_normal_(
            self.upsample2.weight, mode='fan_out', nonlinearity='relu'
        )
        nn.init.zeros_(self.upsample2.bias)
        for layer in self.fcs:
            caffe2_xavier_init(layer)
        normal_init(self.fc_iou, std=0.01)

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of N RoIs.

        Args:
            x: (N, channels, S, S) features.
            labels: (N,) int64 class, whose mask the IoU is of.

        Returns:
            tuple: Logits of masks (N, C, 4S, 4S) and IoUs (N, C); the IoUs
            give no gradient to the masks.
        """
        hidden = F.relu(self.norm(self.upsample(x)))
        masks = self.conv_logits(F.relu(self.upsample2(hidden)))
        own = _of_class(masks, labels)[:, None].detach()
        small = F.max_pool2d(own, 4, stride=4, padding=1).sigmoid()
        out = torch.cat((x, small), 1).flatten(1)
        for layer in self.fcs:
            out = F.relu(layer(out))
        return masks, self.fc_iou(out)

    def loss(
        self,
        masks: Tensor,
        ious: Tensor,
        labels: Tensor,
        targets: Tensor,
        area_ratios: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of N positive RoIs, in float32.

        Args:
            masks: (N, C, 4S, 4S) logits of :meth:`forward`.
            ious: (N, C) of :meth:`forward`.
            labels: (N,) int64 class of the ground truth.
            targets: (N, 4S, 4S) its mask in the RoI, 0 or 1.
            area_ratios: (N,) share of the instance inside the RoI.

        Returns:
            dict: ``loss_mask`` and ``loss_mask_iou``; 0 without RoIs.
        """
        masks = masks.float()
        goals = d2det.mask_ious(
            _of_class(masks, labels).detach(),
            targets,
            area_ratios,
            self.mask_logit_thr,
        )
        error = d2det.iou_loss(_of_class(ious, labels).float(), goals)
        return dict(
            # a mean of nothing is not finite
            loss_mask=self.loss_mask(masks, targets, labels)
            if len(masks)
            else masks.sum(),
            loss_mask_iou=self.iou_loss_weight * error,
        )

    def predict_by_feat(
        self,
        mask_preds: Sequence[Tensor],
        results_list: InstanceList,
        *args: object,
        mask_ious: Sequence[Tensor],
        **kwargs: object,
    ) -> InstanceList:
        """Masks of detections, with ``mask_scores``.

        Args:
            mask_preds: Logits (N_i, C, 4S, 4S) of B images.
            results_list: N_i detections of B images.
            *args: Of mmdet's ``FCNMaskHead``.
            mask_ious: (N_i, C) of B images.
            **kwargs: Of mmdet's ``FCNMaskHead``.

        Returns:
            list: The detections.
        """
        for results, ious in zip(results_list, mask_ious, strict=True):
            own = _of_class(ious, results.labels).to(results.scores)
            results.mask_scores = results.scores + self.iou_score_weight * own
        return super().predict_by_feat(
            mask_preds, results_list, *args, **kwargs
        )


def mask_targets(
    rois: Tensor, gt_inds: Tensor, masks: list, size: int
) -> tuple[Tensor, Tensor]:
    """Masks of the objects of RoIs, on the device of these.

    Args:
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels, by image.
        gt_inds: (N,) index of the object in its image.
        masks: mmdet's masks (bitmaps or polygons) of B images.
        size: S, sides of the targets.

    Returns:
        tuple: (N, S, S) 0 or 1, and (N,) shares of the instances in the
        pixels that the RoIs touch, 0 of an empty mask.
    """
    targets, ratios = [rois.new_zeros(0, size, size)], []
    for index, gts in enumerate(masks):
        own = rois[:, 0] == index
        boxes, inds = rois[own, 1:], gt_inds[own]
        if not len(boxes):
            continue
        cfg = ConfigDict(mask_size=size)
        targets.append(mask_target([boxes], [inds], [gts], cfg))
        bitmaps = gts.to_ndarray()
        areas = bitmaps.sum((1, 2))
        for box, gt in zip(boxes.long().tolist(), inds.tolist(), strict=True):
            # a negative end of a slice would count from the other side
            x1, y1 = (max(side, 0) for side in box[:2])
            x2, y2 = (max(side + 1, 0) for side in box[2:])
            inside = bitmaps[gt, y1:y2, x1:x2].sum()
            ratios.append(inside / max(areas[gt], 1))
    return torch.cat(targets), rois.new_tensor(ratios)


def _of_class(x: Tensor, labels: Tensor) -> Tensor:
    """Entries (N, ...) of a class of each row of (N, C, ...)."""
    return x[torch.arange(len(x), device=x.device), labels]
