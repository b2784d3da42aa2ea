"""Parts of a backbone that are not trained."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenPartsMixin(nn.Module):
    """Mixin before a ``BaseModule``: keeps parts and norms in eval mode.

    Attributes:
        frozen_stages: How many stages are not trained, with the stem; 0 is the
            stem alone, -1 nothing.
        norm_eval: Keep batch normalization in eval mode.
    """

    frozen_stages: int
    norm_eval: bool

    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The stem and the stages; a subclass writes it."""

    def train(self, mode: bool = True) -> 'FrozenPartsMixin':
        """Set the mode, with frozen parts and norms in eval mode."""
        super().train(mode)
        for part in self.parts()[: self.frozen_stages + 1]:
            part.eval()
            part.requires_grad_(False)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
