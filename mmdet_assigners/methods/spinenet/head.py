"""Head of SpineNet's RetinaNet."""

import copy
from typing import Any

from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import RetinaSepBNHead
from mmdet.registry import MODELS
from torch import nn

from ...models.dense_heads.flat_retina_head import FlatRetinaLossMixin
from .blocks import make_activation


@MODELS.register_module()
class SpineNetHead(FlatRetinaLossMixin, RetinaSepBNHead):
    """RetinaNet's head whose levels share convolutions, but not norms.

    mmdet's ``RetinaSepBNHead`` with a choice of the activation, batched
    losses, and norms that can be fused: levels share weights, not modules, so
    that ``fuse_conv_bn`` gives each its own.

    Paper: SpineNet, CVPR 2020, arXiv 1912.05027; protocol C has the swish in
    the head too.

    Args:
        act_cfg: Config of the activations; by default ReLU.
        **kwargs: Arguments of ``RetinaSepBNHead``.

    Raises:
        ValueError: ``train_cfg.sampler`` samples.
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """

    def __init__(
        self, *args: Any, act_cfg: dict | None = None, **kwargs: Any
    ) -> None:
        self.act_cfg = act_cfg or dict(type='ReLU')
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        for branch in (self.cls_convs, self.reg_convs):
            for level in branch[1:]:
                for layer, first in zip(level, branch[0], strict=True):
                    layer.conv = _tied(first.conv)
        for module in self.modules():
            if isinstance(module, ConvModule):
                module.activate = make_activation(self.act_cfg)


def _tied(conv: nn.Module) -> nn.Module:
    """A copy with the parameters of another convolution."""
    other = copy.deepcopy(conv)
    for name, parameter in conv.named_parameters(recurse=False):
        setattr(other, name, parameter)
    return other
