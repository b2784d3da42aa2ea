"""Backbone, neck and head whose layers are mixtures of operations."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .backbone import CHANNELS, HitBackbone
from .functional import best_ops, column_norms, kept_ops, mix, op_entropy
from .head import HitBBoxHead
from .neck import HitPAFPN
from .ops import SPACES, Options, check_ops, make_op, multiply_adds

INIT_STD = 1e-3  # of the logits; our choice
# channels of input and output, stride, height, width of the input, how often
Shape = tuple[int, int, int, int, int, int]


class MixedOp(nn.Module):
    """Operations on one input, summed by the softmax of their logits.

    Args:
        ops: O modules with outputs of the same shape.
        with_cp: Compute each operation again in the backward pass, for the
            memory of one of them.
    """

    def __init__(
        self, ops: Sequence[nn.Module], with_cp: bool = False
    ) -> None:
        super().__init__()
        self.ops = nn.ModuleList(ops)
        self.with_cp = with_cp

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """Compute the mixture.

        Args:
            x: (B, C, H, W).
            logits: (O,).

        Returns:
            Tensor: (B, C_out, H_out, W_out).
        """
        if self.with_cp and torch.is_grad_enabled():
            outs = [checkpoint(op, x, use_reentrant=False) for op in self.ops]
        else:
            outs = [op(x) for op in self.ops]
        return mix(outs, logits)


class Searchable:
    """Logits of a part, and what they say; L layers are searched.

    Attributes:
        part: Name of the part in a genotype file.
        candidates: Names of the O operations.
    """

    part: str
    candidates: tuple[str, ...]
    norm_cfg: Options
    with_cp: bool

    @property
    @abstractmethod
    def logits(self) -> nn.Parameter:
        """(L, O); a subclass writes it."""

    def named_ops(self, candidates: str | Sequence[str]) -> tuple[str, ...]:
        """Names of the candidates.

        Args:
            candidates: A space of the part, or names.

        Raises:
            ValueError: An unknown space or name.
        """
        spaces = SPACES[self.part]
        if isinstance(candidates, str):
            if candidates not in spaces:
                raise ValueError(
                    f'candidates of the {self.part} must be '
                    f'{" or ".join(map(repr, spaces))} or a list of names, '
                    f'got {candidates!r}'
                )
            return spaces[candidates]
        return check_ops(candidates, f'candidates of the {self.part}')

    def make_logits(self, layers: int) -> nn.Parameter:
        """Nearly equal logits (L, O)."""
        return nn.Parameter(
            INIT_STD * torch.randn(layers, len(self.candidates))
        )

    def make_mixed(
        self, in_channels: int, out_channels: int, stride: int = 1
    ) -> MixedOp:
        """A mixture of all candidates.

        Args:
            in_channels: C.
            out_channels: C_out.
            stride: Of the layer.
        """
        shape = (in_channels, out_channels, stride, self.norm_cfg)
        return MixedOp(
            [make_op(name, *shape) for name in self.candidates], self.with_cp
        )

    @abstractmethod
    def searched_shapes(self, size: tuple[int, int], rois: int) -> list[Shape]:
        """Shapes of the searched layers; a subclass writes it.

        Args:
            size: Height and width of an image.
            rois: RoIs of an image.
        """

    def costs(self, size: tuple[int, int], rois: int) -> Tensor:
        """Multiply-adds (L, O) for an image, measured by a dry forward.

        Args:
            size: Height and width of an image.
            rois: RoIs of an image.
        """
        return torch.tensor(
            [
                [times * multiply_adds(op, *shape) for op in self.candidates]
                for *shape, times in self.searched_shapes(size, rois)
            ],
            dtype=torch.float64,
        )

    def searched_genotype(self) -> list[str]:
        """The operation with the largest logit in each searched layer."""
        return [
            self.candidates[i] for i in best_ops(self.logits.detach()).tolist()
        ]

    def describe(self, keep: int) -> dict[str, Any]:
        """Entry of a genotype file.

        Args:
            keep: How many operations step 1 keeps.
        """
        alpha = self.logits.detach().float()
        norms = column_norms(alpha).tolist()
        return dict(
            genotype=self.searched_genotype(),
            kept=[self.candidates[i] for i in kept_ops(alpha, keep).tolist()],
            column_norms=dict(zip(self.candidates, norms, strict=True)),
            entropy=op_entropy(alpha).item(),
        )


@MODELS.register_module()
class SearchableBackbone(Searchable, HitBackbone):
    """`HitBackbone` with mixtures between its first and last layer.

    Args:
        candidates: ``'common'``, the space of step 1, ``'sub'``, that of
            step 2, or names of operations, see ``make_op``.
        out_channels: Of each layer; the first is a 3x3, the last a 1x1.
        with_cp: As in ``MixedOp``.
        **kwargs: Arguments of ``HitBackbone`` without ``genotype``.

    Raises:
        ValueError: An unknown operation, or fewer than three layers.
    """

    part = 'backbone'

    def __init__(
        self,
        candidates: str | Sequence[str] = 'common',
        out_channels: Sequence[int] = CHANNELS,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        if 'genotype' in kwargs:
            raise ValueError('genotype of SearchableBackbone is searched')
        searched = len(out_channels) - 2
        if searched < 1:
            raise ValueError(
                'out_channels must have at least 3 layers, got '
                f'{len(out_channels)}'
            )
        self.candidates = self.named_ops(candidates)
        self.with_cp = with_cp
        # the operations between are replaced by mixtures
        genotype = ('conv3', *self.candidates[:1] * searched, 'conv1')
        super().__init__(genotype, out_channels, **kwargs)
        self.arch_alpha = self.make_logits(searched)

    @property
    def logits(self) -> nn.Parameter:
        """(L, O)."""
        return self.arch_alpha

    def make_layer(
        self, index: int, in_channels: int, out_channels: int, stride: int
    ) -> nn.Module:
        """Make a layer, see ``HitBackbone``."""
        shape = (in_channels, out_channels, stride)
        if self._fixed(index):
            return super().make_layer(index, *shape)
        return self.make_mixed(*shape)

    def run_layer(self, index: int, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C_out, H_out, W_out)."""
        if self._fixed(index):
            return super().run_layer(index, x)
        return self.layers[index](x, self.arch_alpha[index - 1])

    def _fixed(self, index: int) -> bool:
        return index in (0, len(self.genotype) - 1)

    def searched_genotype(self) -> list[str]:
        """The operations of all layers, those that are fixed too."""
        searched = super().searched_genotype()
        return [self.genotype[0], *searched, self.genotype[-1]]

    def searched_shapes(self, size: tuple[int, int], rois: int) -> list[Shape]:
        """Shapes of the searched layers, see ``Searchable``."""
        height, width = size
        found: list[Shape] = []
        for inputs, outputs, stride in self.shapes:
            found.append((inputs, outputs, stride, height, width, 1))
            height, width = -(-height // stride), -(-width // stride)
        return found[1:-1]


@MODELS.register_module()
class SearchableNeck(Searchable, HitPAFPN):
    """`HitPAFPN` with mixtures as laterals and outputs.

    Args:
        in_channels: Of each level.
        out_channels: Of all outputs.
        candidates: ``'common'``, the space of step 1, ``'sub'``, that of
            step 2, or names of operations, see ``make_op``.
        strides: Of the levels, for the cost.
        with_cp: As in ``MixedOp``.
        **kwargs: Further arguments of ``HitPAFPN`` without ``genotype``.

    Raises:
        ValueError: An unknown operation, or strides not for each level.
    """

    part = 'neck'

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        candidates: str | Sequence[str] = 'common',
        strides: Sequence[int] = (4, 8, 16, 32),
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        if 'genotype' in kwargs:
            raise ValueError('genotype of SearchableNeck is searched')
        if len(strides) != len(in_channels):
            raise ValueError(
                f'strides must have an entry for each of {len(in_channels)} '
                f'levels, got {tuple(strides)}'
            )
        self.candidates = self.named_ops(candidates)
        self.with_cp = with_cp
        self.strides = tuple(strides)
        layers = 2 * len(in_channels)
        genotype = self.candidates[:1] * layers
        super().__init__(
            in_channels, out_channels, genotype=genotype, **kwargs
        )
        self.arch_beta = self.make_logits(layers)

    @property
    def logits(self) -> nn.Parameter:
        """(L, O)."""
        return self.arch_beta

    def make_cell(
        self, index: int, in_channels: int, out_channels: int
    ) -> nn.Module:
        """Make a layer, see ``HitPAFPN``."""
        return self.make_mixed(in_channels, out_channels)

    def run_cell(self, index: int, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C_out, H_out, W_out)."""
        return self.SearchNeck.cells[index](x, self.arch_beta[index])

    def searched_shapes(self, size: tuple[int, int], rois: int) -> list[Shape]:
        """Shapes of the searched layers, see ``Searchable``."""
        height, width = size
        return [
            (*channels, 1, -(-height // stride), -(-width // stride), 1)
            for channels, stride in zip(
                self.shapes, self.strides * 2, strict=True
            )
        ]


@MODELS.register_module()
class SearchableBBoxHead(Searchable, HitBBoxHead):
    """`HitBBoxHead` with mixtures on the features of a RoI.

    Args:
        candidates: ``'common'``, the space of step 1, ``'sub'``, that of
            step 2, or names of operations, see ``make_op``.
        num_cells: How many layers there are; 4 in the paper.
        with_cp: As in ``MixedOp``.
        **kwargs: Arguments of ``HitBBoxHead`` without ``genotype``.

    Raises:
        ValueError: An unknown operation, or no layer.
    """

    part = 'head'

    def __init__(
        self,
        candidates: str | Sequence[str] = 'common',
        num_cells: int = 4,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        if 'genotype' in kwargs:
            raise ValueError('genotype of SearchableBBoxHead is searched')
        if num_cells < 1:
            raise ValueError(f'num_cells must be at least 1, got {num_cells}')
        self.candidates = self.named_ops(candidates)
        self.with_cp = with_cp
        super().__init__(self.candidates[:1] * num_cells, **kwargs)
        self.arch_gamma = self.make_logits(num_cells)

    @property
    def logits(self) -> nn.Parameter:
        """(L, O)."""
        return self.arch_gamma

    def make_cell(self, index: int) -> nn.Module:
        """Make a layer, see ``HitBBoxHead``."""
        return self.make_mixed(self.in_channels, self.in_channels)

    def run_cell(self, index: int, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C_out, H_out, W_out)."""
        return self.SearchHead.cells[index](x, self.arch_gamma[index])

    def searched_shapes(self, size: tuple[int, int], rois: int) -> list[Shape]:
        """Shapes of the searched layers, see ``Searchable``."""
        width = self.in_channels
        shape = (width, width, 1, *self.roi_feat_size, rois)
        return [shape] * len(self.genotype)
