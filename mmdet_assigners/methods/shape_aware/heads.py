"""Mask and box heads of DSC, which look at features of other masks."""

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.roi_heads.mask_heads import HTCMaskHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

_NORM = dict(type='BN', requires_grad=True)


def fuse(x: Tensor, other: Tensor, layer: ConvModule) -> Tensor:
    """Add features of another size.

    Args:
        x: (N, channels, height, width).
        other: (N, channels, S, S).
        layer: Transforms ``other``.

    Returns:
        Tensor: As x.
    """
    return x + F.adaptive_avg_pool2d(layer(other), x.shape[-2:])


@MODELS.register_module()
class DSCMaskHead(HTCMaskHead):
    """``HTCMaskHead`` whose residual has a norm, and any size.

    Deeply Shape-guided Cascade for Instance Segmentation, CVPR 2021, arXiv
    1911.11263: proposes class-agnostic masks in the stages, and predicts the
    final ones.

    Args:
        *args: Of ``HTCMaskHead``.
        res_norm_cfg: Norm of the residual.
        **kwargs: Of ``HTCMaskHead``.
    """

    def __init__(
        self,
        *args: object,
        res_norm_cfg: dict | None = _NORM,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.with_conv_res:
            width = self.conv_out_channels
            self.conv_res = ConvModule(
                self.in_channels, width, 1, norm_cfg=res_norm_cfg
            )

    def forward(
        self,
        x: Tensor,
        res_feat: Tensor | None = None,
        return_logits: bool = True,
        return_feat: bool = True,
    ) -> Tensor | list[Tensor]:
        """Masks and the features before the upsampling.

        Args:
            x: (N, channels, height, width).
            res_feat: (N, channels, S, S) features of another mask head.
            return_logits: Return the logits.
            return_feat: Return the features.

        Returns:
            Tensor: (N, C, 2 height, 2 width) logits or (N, channels, height,
            width) features, or a list of both.
        """
        if res_feat is not None:
            x = fuse(x, res_feat, self.conv_res)
        return super().forward(x, None, return_logits, return_feat)


@MODELS.register_module()
class DSCBBoxHead(Shared2FCBBoxHead):
    """``Shared2FCBBoxHead`` that adds features of the mask head.

    Deeply Shape-guided Cascade for Instance Segmentation, CVPR 2021, arXiv
    1911.11263. Detections keep the index of their RoI as ``rows``, with which
    a ``DSCRoIHead`` finds the features of their masks.

    Args:
        *args: Of ``Shared2FCBBoxHead``.
        res_norm_cfg: Norm of the mask features.
        **kwargs: Of ``Shared2FCBBoxHead``.
    """

    def __init__(
        self,
        *args: object,
        res_norm_cfg: dict | None = _NORM,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.conv_res = ConvModule(
            self.in_channels, self.in_channels, 1, norm_cfg=res_norm_cfg
        )

    def forward(self, x: Tensor, mask_feats: Tensor | None = None) -> tuple:
        """Scores and deltas of N RoIs.

        Args:
            x: (N, channels, height, width) RoI features.
            mask_feats: (N, channels, S, S) of a ``DSCMaskHead``.

        Returns:
            tuple: (N, C + 1) logits and (N, 4) deltas, (N, 4 C) if they are
            class-specific.
        """
        if mask_feats is not None:
            x = fuse(x, mask_feats, self.conv_res)
        return super().forward(x)

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
    ) -> InstanceData:
        inputs = (roi, cls_score, bbox_pred, img_meta, rescale)
        if rcnn_test_cfg is None or len(roi) == 0:
            return super()._predict_by_feat_single(*inputs, rcnn_test_cfg)
        raw = super()._predict_by_feat_single(*inputs, None)
        dets, labels, places = multiclass_nms(
            raw.bboxes,
            raw.scores,
            rcnn_test_cfg.score_thr,
            rcnn_test_cfg.nms,
            rcnn_test_cfg.max_per_img,
            return_inds=True,
        )
        return InstanceData(
            bboxes=dets[:, :4],
            scores=dets[:, 4],
            labels=labels,
            rows=places // self.num_classes,
        )
