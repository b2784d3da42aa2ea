"""What the backbones of this method share."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import nn

from ...models.backbones.frozen_parts import FrozenPartsMixin
from ...models.checks import check_stages, refuse_other_weights

INIT = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


class StagedBackbone(FrozenPartsMixin, BaseModule):
    """A stem and stages; base class of CSPNet's and PeleeNet's backbones.

    Args:
        stem: Before the stages.
        stages: In order.
        out_indices: Stages whose outputs are returned.
        frozen_stages: How many stages are not trained, 0: the stem alone,
            -1: all are trained.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: Stages out of range.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        out_indices: Sequence[int],
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(INIT if init_cfg is None else init_cfg)
        check_stages(len(stages), out_indices, frozen_stages)
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

    def parts(self) -> list[nn.Module]:
        """The stem and the stages."""
        return [self.stem, *self.stages]

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        refuse_other_weights(self, state_dict, prefix, 'cspnet')
        super()._load_from_state_dict(state_dict, prefix, *args)
