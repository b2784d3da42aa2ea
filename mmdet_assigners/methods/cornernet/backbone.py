"""Hourglass-52: one stack."""

from typing import Any

from mmdet.models.backbones import HourglassNet
from mmdet.registry import MODELS
from torch import nn


@MODELS.register_module()
class SingleHourglassNet(HourglassNet):
    """mmdet's ``HourglassNet`` with one stack.

    mmdet's own also has the block that links stacks. With one stack nothing
    uses it, and distributed training stops at parameters without gradients.

    Args:
        **kwargs: As of ``HourglassNet``, without ``num_stacks``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(num_stacks=1, **kwargs)
        self.inters = nn.Sequential()
