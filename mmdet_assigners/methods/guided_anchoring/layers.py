"""Layers of Guided Anchoring that run on any batch and device."""

from mmdet.models.dense_heads.guided_anchor_head import FeatureAdaption
from torch import Tensor, nn

from ...ops.deform_conv import deform_conv
from .functional import masked_conv


class BatchMaskedConv(nn.Conv2d):
    """Masked convolution for any batch, device and graph export.

    mmcv's ``MaskedConv2d`` takes one image, has no CPU kernel and no
    gradient. This one is a dense convolution whose result is masked;
    parameters and, for one image, results are the same. Takes the arguments
    of ``torch.nn.Conv2d``, its direct base, because mmengine's initializers
    go by that name.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolve.

        Args:
            x: (B, C, H, W).
            mask: (B, 1, H, W) bool, False where the result is zero; None
                computes everywhere, as in training.

        Returns:
            Tensor: (B, C_out, H, W).
        """
        if mask is None:
            return super().forward(x)
        return masked_conv(x, mask, self.weight, self.bias, self.padding)


class BatchFeatureAdaption(FeatureAdaption):
    """Deformable convolution with offsets from the predicted shapes.

    The same parameters and results as mmdet's ``FeatureAdaption``, through
    :func:`mmdet_assigners.ops.deform_conv.deform_conv`, which is faster on
    CPU and can be exported. Takes the arguments of ``FeatureAdaption``.
    """

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """Adapt a feature map to the anchors.

        Args:
            x: (B, C, H, W).
            shape: (B, 2, H, W) shape predictions; no gradient flows back.

        Returns:
            Tensor: (B, C_out, H, W), rectified.
        """
        conv = self.conv_adaption
        out = deform_conv(
            x,
            self.conv_offset(shape.detach()),
            conv.weight,
            1,
            conv.padding[0],
            conv.deform_groups,
        )
        return self.relu(out)
