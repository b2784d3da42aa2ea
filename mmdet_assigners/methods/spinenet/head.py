"""Head of SpineNet's RetinaNet."""

from typing import Any

from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import RetinaSepBNHead
from mmdet.registry import MODELS

from .blocks import make_activation


@MODELS.register_module()
class SpineNetHead(RetinaSepBNHead):
    """``RetinaSepBNHead`` with another activation.

    Paper: SpineNet, CVPR 2020, arXiv 1912.05027; protocol C has the swish in
    the head too.

    Args:
        act_cfg: Config of the activations.
        **kwargs: Arguments of mmdet's ``RetinaSepBNHead``.
    """

    def __init__(self, *args: Any, act_cfg: dict, **kwargs: Any) -> None:
        self.act_cfg = act_cfg
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        for module in self.modules():
            if isinstance(module, ConvModule):
                module.activate = make_activation(self.act_cfg)
