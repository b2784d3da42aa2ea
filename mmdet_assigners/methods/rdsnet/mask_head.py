"""The pixel stream of RDSNet, and the masks of both."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads.base_mask_head import BaseMaskHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import scale_boxes
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.checks import check_parts, masks_of
from . import functional as rdsnet
from .refinement import MaskBoundaryRefinement

# pixels of the masks that are made at once
_MAX_PIXELS = 1 << 25


@MODELS.register_module()
class RDSMaskHead(BaseMaskHead):
    """Embeds pixels and compares them with the objects of ``RDSRetinaHead``.

    The pixel stream of RDSNet, AAAI 2020, arXiv 1912.05070. Levels of the
    pyramid are convolved, enlarged to the finest and summed, convolved and
    enlarged again; a 1x1 convolution embeds each pixel. Of each object two
    correlations with the pixels are the logits of its background and its
    foreground. A mask is trained and predicted inside of an enlarged box.

    Differences from the official code (wangsr126/RDSNet): maps are enlarged to
    the size of the next finer one, which is twice theirs where sides are
    divisible by 32; batches without a mask to train have a loss of 0.

    Args:
        in_channels: Channels of the pyramid.
        conv_out_channels: Width of the convolutions.
        rep_channels: Channels d of the embedding, as in the other head.
        end_level: Index of the last level that is used; 2 in the paper (P5).
        num_convs: Convolutions after the sum, each before an enlargement.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of their norm.
        crop_padding: Enlargement of the ground truths in training, on each
            side: below 1 in sides of the box, from 1 on in pixels.
        test_crop_padding: The same of the predicted boxes.
        ohem: Of the background inside of a crop the pixels of highest loss
            are trained alone.
        neg_pos_ratio: How many of them for each pixel of the foreground.
        min_mask_area: Masks up to this area, in pixels, are not trained.
        max_masks_to_train: Per image; those of which anchors is random.
        loss_weight: Weight of the mask loss.
        mbrm: Config of a ``MaskBoundaryRefinement`` that moves the predicted
            boxes to their masks; None to leave them.
        train_cfg: Not used; the detector gives it.
        test_cfg: With ``mask_thr_binary``; 0.4 in the official code.
        init_cfg: Initialization; Xavier, and N(0, 0.01) in the last layer.

    Raises:
        ValueError: A number is out of its range; names it.
        TypeError: ``mbrm`` is of another type.
    """

    # officially the loss is divided by the number of masks plus one
    extra_count = 1

    def __init__(
        self,
        in_channels: int,
        conv_out_channels: int = 256,
        rep_channels: int = 32,
        end_level: int = 2,
        num_convs: int = 1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        crop_padding: float = 0.25,
        test_crop_padding: float = 0.1,
        ohem: bool = True,
        neg_pos_ratio: float = 1.0,
        min_mask_area: float = 100,
        max_masks_to_train: int = 100,
        loss_weight: float = 1.0,
        mbrm: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or dict(
                type='Xavier',
                layer='Conv2d',
                distribution='uniform',
                override=dict(type='Normal', name='conv_reps', std=0.01),
            )
        )
        limits = dict(
            end_level=(end_level, 0),
            num_convs=(num_convs, 0),
            crop_padding=(crop_padding, 0),
            test_crop_padding=(test_crop_padding, 0),
            neg_pos_ratio=(neg_pos_ratio, 0),
            max_masks_to_train=(max_masks_to_train, 1),
        )
        for name, (value, smallest) in limits.items():
            if not value >= smallest:
                raise ValueError(
                    f'{name} must be at least {smallest}, got {value}'
                )
        self.rep_channels = rep_channels
        self.end_level = end_level
        self.crop_padding = crop_padding
        self.test_crop_padding = test_crop_padding
        self.ohem = ohem
        self.neg_pos_ratio = neg_pos_ratio
        self.min_mask_area = min_mask_area
        self.max_masks_to_train = max_masks_to_train
        self.loss_weight = loss_weight
        self.test_cfg = test_cfg or {}
        self.mbrm = None
        if mbrm is not None:
            self.mbrm = MODELS.build(mbrm)
            check_parts(self, mbrm=MaskBoundaryRefinement)

        def conv(channels: int) -> ConvModule:
            return ConvModule(
                channels,
                conv_out_channels,
                3,
                padding=1,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
            )

        self.lateral_convs = nn.ModuleList(
            nn.ModuleList(
                conv(in_channels if index == 0 else conv_out_channels)
                for index in range(max(level, 1))
            )
            for level in range(end_level + 1)
        )
        self.final_convs = nn.ModuleList(
            conv(conv_out_channels) for _ in range(num_convs)
        )
        self.conv_reps = nn.Conv2d(conv_out_channels, rep_channels, 1)

    def embed(self, x: Sequence[Tensor]) -> Tensor:
        """Embedding of the pixels.

        Args:
            x: L feature maps (B, in_channels, H_l, W_l), the finest first.

        Returns:
            Tensor: (B, d, h, w), as large as ``x[0]`` times two for each of
            ``num_convs``.

        Raises:
            ValueError: There are too few levels.
        """
        if len(x) <= self.end_level:
            raise ValueError(
                f'end_level must be below the number of levels, {len(x)}, '
                f'got {self.end_level}'
            )
        sizes = [feat.shape[-2:] for feat in x]
        total = self.lateral_convs[0][0](x[0])
        for level, layers in enumerate(self.lateral_convs[1:], 1):
            feat = x[level]
            finer = sizes[:level][::-1]
            for layer, size in zip(layers, finer, strict=True):
                feat = _enlarge(layer(feat), size)
            total = total + feat
        for layer in self.final_convs:
            height, width = total.shape[-2:]
            total = _enlarge(layer(total), (2 * height, 2 * width))
        return self.conv_reps(total)

    def forward(
        self, x: Sequence[Tensor], positive_infos: InstanceList
    ) -> tuple[list[Tensor]]:
        """Mask logits of objects.

        Args:
            x: L feature maps (B, in_channels, H_l, W_l), the finest first.
            positive_infos: B instances with ``reps`` (N_b, 2 d).

        Returns:
            tuple: One list of logits (N_b, h, w, 2), see ``embed``.
        """
        return (
            [
                rdsnet.correlate(pixels, own.reps)
                for pixels, own in zip(
                    self.embed(x), positive_infos, strict=True
                )
            ],
        )

    def loss(
        self,
        x: Sequence[Tensor],
        batch_data_samples: SampleList,
        positive_infos: InstanceList | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """Loss of the masks of positive anchors.

        Args:
            x: L feature maps (B, in_channels, H_l, W_l), the finest first.
            batch_data_samples: B samples whose ground truths have masks.
            positive_infos: Of ``RDSRetinaHead.get_positive_infos``.
            **kwargs: Of :meth:`loss_by_feat`.

        Returns:
            dict: ``loss_mask``.

        Raises:
            ValueError: There are no masks.
        """
        chosen = [
            self._choose(own, sample.gt_instances)
            for own, sample in zip(
                positive_infos or [], batch_data_samples, strict=True
            )
        ]
        return super().loss(x, batch_data_samples, chosen, **kwargs)

    def _choose(self, own: InstanceData, gt: InstanceData) -> InstanceData:
        """The positive anchors whose masks are trained."""
        large = masks_of(gt, 'RDSNet').areas > self.min_mask_area
        of_anchors = torch.as_tensor(large, device=own.reps.device)
        index = of_anchors[own.pos_assigned_gt_inds].nonzero()[:, 0]
        if len(index) > self.max_masks_to_train:
            order = torch.randperm(len(index), device=index.device)
            index = index[order[: self.max_masks_to_train]]
        return own[index]

    def loss_by_feat(
        self,
        mask_preds: list[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        positive_infos: InstanceList,
        batch_gt_instances_ignore: InstanceList | None = None,
    ) -> dict[str, Tensor]:
        """Loss of the masks of given objects, in float32.

        Args:
            mask_preds: B logits (N_b, h, w, 2).
            batch_gt_instances: B instances with masks of the batch's size.
            batch_img_metas: Meta information of B images.
            positive_infos: B instances with ``pos_assigned_gt_inds`` (N_b,)
                and ``bboxes`` (N_b, 4).
            batch_gt_instances_ignore: Not used.

        Returns:
            dict: ``loss_mask``, the sum over objects / (their number + 1).
        """
        del batch_gt_instances_ignore
        with torch.autocast(mask_preds[0].device.type, enabled=False):
            losses = torch.cat(
                [
                    self._losses(*image)
                    for image in zip(
                        mask_preds,
                        batch_gt_instances,
                        batch_img_metas,
                        positive_infos,
                        strict=True,
                    )
                ]
            )
        mean = losses.sum() / (len(losses) + self.extra_count)
        return dict(loss_mask=self.loss_weight * mean)

    def _losses(
        self,
        logits: Tensor,
        gt: InstanceData,
        meta: dict,
        own: InstanceData,
    ) -> Tensor:
        """Losses (N,) of the objects of an image."""
        whole, size = meta['batch_input_shape'], logits.shape[1:3]
        rows, columns = rdsnet.inner_size(size, meta['pad_shape'], whole)
        logits = logits[:, :rows, :columns].float()
        masks = gt.masks.to_tensor(torch.bool, logits.device)
        target = rdsnet.mask_targets(masks, size)[:, :rows, :columns]
        height, width = meta['img_shape'][:2]
        scale = own.bboxes.new_tensor(
            [size[1] / whole[1], size[0] / whole[0]] * 2
        )
        limit = own.bboxes.new_tensor([width, height] * 2)
        return rdsnet.mask_losses(
            logits,
            torch.minimum(own.bboxes.clamp(min=0), limit) * scale,
            target[own.pos_assigned_gt_inds],
            self.crop_padding,
            self.ohem,
            self.neg_pos_ratio,
        )

    def predict_by_feat(
        self,
        mask_preds: list[Tensor],
        batch_img_metas: list[dict],
        results_list: InstanceList,
        rescale: bool = True,
    ) -> InstanceList:
        """Masks of detections, and boxes refined by them.

        Args:
            mask_preds: B logits (N_b, h, w, 2).
            batch_img_metas: Meta information of B images.
            results_list: B instances with ``bboxes`` (N_b, 4) in pixels of
                the network's input.
            rescale: Boxes and masks in the original image.

        Returns:
            list: The instances with ``masks`` (N_b, H, W) bool, without
            ``reps``.
        """
        for logits, found, meta in zip(
            mask_preds, results_list, batch_img_metas, strict=True
        ):
            whole, size = meta['batch_input_shape'], logits.shape[1:3]
            rows, columns = rdsnet.inner_size(size, meta['pad_shape'], whole)
            found.pop('reps', None)
            boxes = found.bboxes
            if rescale:
                scale = [1 / side for side in meta['scale_factor']]
                boxes = scale_boxes(boxes, scale)
            found.bboxes, found.masks = self._masks(
                logits[:, :rows, :columns].float(), boxes, meta, rescale
            )
        return results_list

    def _masks(
        self, logits: Tensor, boxes: Tensor, meta: dict, rescale: bool
    ) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) and masks (N, H, W) bool; a part of N at a time."""
        shape = meta['ori_shape'] if rescale else meta['img_shape']
        height, width = shape[:2]
        count = max(1, _MAX_PIXELS // (height * width))
        threshold = self.test_cfg.get('mask_thr_binary', 0.4)
        found_boxes, found_masks = [], []
        for part, own in zip(
            logits.split(count), boxes.split(count), strict=True
        ):
            masks = rdsnet.foreground(
                part,
                meta['pad_shape'],
                meta['img_shape'],
                meta['ori_shape'] if rescale else None,
            )
            masks = masks * rdsnet.inside_crop(
                own, self.test_crop_padding, height, width
            )
            if self.mbrm is not None:
                own = self.mbrm(masks, own)
            found_boxes.append(own)
            found_masks.append(masks > threshold)
        return torch.cat(found_boxes), torch.cat(found_masks)


def _enlarge(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode='bilinear', align_corners=True)
