"""Grounding Transformers: a fine level attends to a coarse one."""

from typing import Any

from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from . import functional as fpt
from .local_attention import local_attention
from .self_transformer import part_weight

PUBLISHED_MODES = ('dot', 'embedded')


class GroundingTransformer(nn.Module):
    """Grounding Transformer (GT) of the paper, by Euclidean distance.

    Queries come from the fine map, keys and values from the coarse one. A
    part's similarity is minus the squared distance, because levels differ in
    what their channels mean; its weight is one number per image, from the
    mean key.

    Paper: Feature Pyramid Transformer, ECCV 2020, arXiv 2007.09451. The
    published code has another similarity, see `PublishedGroundingTransformer`.

    Args:
        channels: C of both maps.
        num_parts: N, softmaxes of the mixture.
        key_channels: Of queries and keys; None is ``channels``.
        value_channels: Of the output; None is ``channels``.
        similarity_scale: Factor of the similarity; 1 in the paper, where the
            softmax of random weights is nearly one-hot. 1 / sqrt of the key
            channels keeps it soft.
        dropout: Share of the attention dropped in training; 0.

    Raises:
        ValueError: ``num_parts`` doesn't divide the key channels, or
            ``similarity_scale`` isn't positive.
    """

    def __init__(
        self,
        channels: int,
        num_parts: int = 2,
        key_channels: int | None = None,
        value_channels: int | None = None,
        similarity_scale: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        keys = key_channels or channels
        if num_parts < 1 or keys % num_parts:
            raise ValueError(
                f'num_parts must divide the {keys} key channels, got '
                f'{num_parts}'
            )
        if not similarity_scale > 0:
            raise ValueError(
                f'similarity_scale must be positive, got {similarity_scale}'
            )
        self.num_parts = num_parts
        self.similarity_scale = similarity_scale
        self.dropout = dropout
        self.query = nn.Conv2d(channels, keys, 1)
        self.key = nn.Conv2d(channels, keys, 1)
        self.value = nn.Conv2d(channels, value_channels or channels, 1)
        self.part_weight = part_weight(num_parts, keys)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Ground the fine map in the coarse one.

        Args:
            fine: (B, C, H, W).
            coarse: (B, C, h, w).

        Returns:
            Tensor: (B, V, H, W), V the value channels.
        """
        keys = self.key(coarse)
        out = self._attend(
            self.query(fine),
            keys,
            self.value(coarse),
            fpt.part_weights(self.part_weight, keys),
            self.dropout if self.training else 0.0,
        )
        return out.reshape(len(fine), -1, *fine.shape[2:])

    def _attend(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        priors: Tensor,
        dropout: float,
    ) -> Tensor:
        """Maps of queries, keys and values -> (B, V, H W)."""
        q, k = fpt.euclidean_features(
            fpt.split_parts(queries, self.num_parts),
            fpt.split_parts(keys, self.num_parts),
        )
        v = values.flatten(2).transpose(1, 2)
        scale = self.similarity_scale
        out = fpt.mixture_attention(q, k, v, priors, scale, dropout)
        return out.transpose(1, 2)


class LocalGroundingTransformer(GroundingTransformer):
    """Locality-constrained Grounding Transformer (LGT) of the paper.

    A query meets the coarse positions in a square around its own only. The
    paper has it for segmentation. What the official repository calls so is
    another module, a self-attention per channel.

    Args:
        channels: C of both maps.
        square_size: Side of the square in coarse cells, odd; 5
            by default.
        num_parts: As in `GroundingTransformer`.
        key_channels: As in `GroundingTransformer`.
        value_channels: As in `GroundingTransformer`.
        similarity_scale: As in `GroundingTransformer`.
        dropout: As in `GroundingTransformer`.

    Raises:
        ValueError: ``square_size`` is even or less than 1, or ``num_parts``
            doesn't divide the key channels.
    """

    def __init__(
        self,
        channels: int,
        square_size: int = 5,
        num_parts: int = 2,
        key_channels: int | None = None,
        value_channels: int | None = None,
        similarity_scale: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            channels,
            num_parts,
            key_channels,
            value_channels,
            similarity_scale,
            dropout,
        )
        if square_size < 1 or square_size % 2 == 0:
            raise ValueError(
                f'square_size must be odd and positive, got {square_size}'
            )
        self.square_size = square_size

    def _attend(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        priors: Tensor,
        dropout: float,
    ) -> Tensor:
        return local_attention(
            queries,
            keys,
            values,
            priors,
            self.square_size,
            self.similarity_scale,
            dropout,
        )


class PublishedGroundingTransformer(nn.Module):
    """Grounding Transformer of the published code: a non-local block.

    The mean over the coarse positions of (query . key) value, without softmax
    or parts, then a 1x1 convolution and a batch norm that starts at 0: so
    does the output. No residual.

    Official code: dongzhang89/FPT, whose last reshape is fixed here.

    Args:
        channels: C of both maps and of the output.
        inter_channels: Of queries, keys and values; None is half of C.
        mode: 'dot', or 'embedded' with a softmax.
        norm_cfg: Norm behind the last convolution; None leaves it out, and
            the convolution starts at 0.

    Raises:
        ValueError: ``mode`` is unknown.
    """

    def __init__(
        self,
        channels: int,
        inter_channels: int | None = None,
        mode: str = 'dot',
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if mode not in PUBLISHED_MODES:
            raise ValueError(f"mode must be 'dot' or 'embedded', got {mode!r}")
        inner = inter_channels or channels // 2
        self.mode = mode
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm: nn.Module | None = None
        if norm_cfg is not None:
            self.norm = build_norm_layer(norm_cfg, channels)[1]
        last = self.out if self.norm is None else self.norm
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Ground the fine map in the coarse one.

        Args:
            fine: (B, C, H, W).
            coarse: (B, C, h, w).

        Returns:
            Tensor: (B, C, H, W).
        """
        queries, keys, values = (
            fpt.split_parts(x, 1)
            for x in (self.query(fine), self.key(coarse), self.value(coarse))
        )
        if self.mode == 'dot':
            out = fpt.dot_attention(queries[:, 0], keys[:, 0], values[:, 0])
        else:
            out = fpt.mixture_attention(queries, keys, values[:, 0])
        out = out.transpose(1, 2).reshape(len(fine), -1, *fine.shape[2:])
        out = self.out(out)
        return out if self.norm is None else self.norm(out)
