"""A stem and stages, of which some are not trained."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class NormEvalMixin(nn.Module):
    """Mixin before a ``BaseModule`` that may keep norms in eval mode.

    Attributes:
        norm_eval: Keep batch normalization in eval mode.
    """

    norm_eval: bool

    def train(self, mode: bool = True) -> 'NormEvalMixin':
        """Set the mode, with the norms as ``norm_eval`` says."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


class FrozenPartsMixin(NormEvalMixin):
    """Mixin before a ``BaseModule``: one stage after the other.

    It keeps frozen parts and norms in eval mode.

    Attributes:
        out_indices: Stages whose outputs are returned, in order.
        frozen_stages: How many stages are not trained, with the stem; 0 is the
            stem alone, -1 nothing.
    """

    out_indices: tuple[int, ...]
    frozen_stages: int

    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The stem and the stages; a subclass writes it."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of ``out_indices``.

        Args:
            x: Normalized images (B, 3, H, W).

        Returns:
            tuple: A map (B, C, H / stride, W / stride) per stage, finest
            first.
        """
        outs = []
        stem, *stages = self.parts()
        x = stem(x)
        for i, stage in enumerate(stages[: self.out_indices[-1] + 1]):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'FrozenPartsMixin':
        """Set the mode, with frozen parts and norms in eval mode."""
        super().train(mode)
        for part in self.parts()[: self.frozen_stages + 1]:
            part.eval()
            part.requires_grad_(False)
        return self
