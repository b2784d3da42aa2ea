"""FPN whose output convolutions are poly-scale."""

from typing import Any

from mmdet.models.necks import FPN
from mmdet.registry import MODELS

from .layers import PSConv2d


@MODELS.register_module()
class PSFPN(FPN):
    """FPN with a ``PSConv2d`` in place of each 3x3 convolution of a level.

    The official code has it and no published row uses it. Its convolutions
    have no bias; those that make further levels stay plain.

    Args:
        *args: Arguments of ``FPN``.
        dilation: Base rate of the convolutions, 2 in the official code.
        parts: Number of their channel blocks, 4 in the official code.
        **kwargs: Arguments of ``FPN``.

    Raises:
        ValueError: ``out_channels`` is no multiple of ``parts``.
    """

    def __init__(
        self, *args: Any, dilation: int = 2, parts: int = 4, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        channels = self.out_channels
        for module in self.fpn_convs[: len(self.lateral_convs)]:
            module.conv = PSConv2d(
                channels, channels, dilation=dilation, parts=parts
            )
            module.with_bias = False

    def init_weights(self) -> None:
        """Initialize as ``FPN`` does, without what is under the masks."""
        super().init_weights()
        for module in self.fpn_convs[: len(self.lateral_convs)]:
            module.conv.init_weights()
