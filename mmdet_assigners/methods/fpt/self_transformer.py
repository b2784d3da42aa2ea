"""Self-Transformer: attention within a pyramid level."""

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from . import functional as fpt

TRANSFORMS = ('conv', 'ffn')


class SelfTransformer(nn.Module):
    """Self-Transformer (ST): a level attends to its own pooled positions.

    Queries and keys come from one projection of the map and of the pooled
    map, split into ``n_mix`` parts with a softmax each. A part's weight is one
    number per image, from the mean query. Then a 1x1 convolution, a norm
    and the residual.

    Paper: Feature Pyramid Transformer, ECCV 2020, arXiv 2007.09451. This is
    the published module (dongzhang89/FPT), which averages the queries where
    the paper says keys. Its fault with odd sizes is fixed: pooled maps of
    ceil(H / 2) x ceil(W / 2) are taken as they are.

    Args:
        channels: C of input and output.
        n_mix: N, softmaxes of the mixture; 2 (4 in the simplified FPT).
        key_channels: Of queries and keys per head; None is ``channels``. The
            temperature is its square root.
        value_channels: Of the values per head; None is ``channels``.
        num_heads: Ordinary attention heads; 1.
        kv_pool: Stride of the average pooling of keys and values; 2. With 1
            there is none.
        transform: Projection of queries and keys: 'conv', a 1x1
            convolution, or 'ffn', a 3x3 convolution, norm, ReLU and 1x1.
        dropout: Share of the attention dropped in training; 0.1.
        norm_cfg: Norm of the output; None is batch norm.

    Raises:
        ValueError: ``transform`` is unknown, or ``n_mix`` or ``kv_pool`` is
            out of range.
    """

    def __init__(
        self,
        channels: int,
        n_mix: int = 2,
        key_channels: int | None = None,
        value_channels: int | None = None,
        num_heads: int = 1,
        kv_pool: int = 2,
        transform: str = 'conv',
        dropout: float = 0.1,
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        keys = key_channels or channels
        values = value_channels or channels
        if transform not in TRANSFORMS:
            raise ValueError(
                f"transform must be 'conv' or 'ffn', got {transform!r}"
            )
        if n_mix < 1 or keys % n_mix:
            raise ValueError(
                f'n_mix must divide the {keys} key channels, got {n_mix}'
            )
        if kv_pool < 1:
            raise ValueError(f'kv_pool must be at least 1, got {kv_pool}')
        norm_cfg = norm_cfg or dict(type='BN')
        self.num_heads = num_heads
        self.n_mix = n_mix
        self.kv_pool = kv_pool
        self.dropout = dropout
        self.scale = keys**-0.5
        width = num_heads * keys
        self.query_key: nn.Module = nn.Conv2d(channels, width, 1)
        if transform == 'ffn':
            self.query_key = nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                build_norm_layer(norm_cfg, width)[1],
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 1),
            )
        self.value = nn.Conv2d(channels, num_heads * values, 1)
        self.pool = nn.AvgPool2d(
            2 * (kv_pool // 2) + 1,
            kv_pool,
            kv_pool // 2,
            count_include_pad=False,
        )
        self.part_weight = part_weight(n_mix, keys) if n_mix > 1 else None
        self.out = nn.Conv2d(num_heads * values, channels, 1, bias=False)
        self.norm = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Attend and add.

        Args:
            x: (B, C, H, W).

        Returns:
            Tensor: (B, C, H, W).
        """
        queries = keys = self._heads(self.query_key(x))
        pooled = x
        if self.kv_pool > 1:
            pooled = self.pool(x)
            keys = self._heads(self.query_key(pooled))
        values = self._heads(self.value(pooled))
        priors = None
        if self.part_weight is not None:
            priors = fpt.part_weights(self.part_weight, queries)
        out = fpt.mixture_attention(
            fpt.split_parts(queries, self.n_mix),
            fpt.split_parts(keys, self.n_mix),
            values.flatten(2).transpose(1, 2),
            priors,
            self.scale,
            self.dropout if self.training else 0.0,
        )
        out = out.transpose(1, 2).reshape(len(x), -1, *x.shape[2:])
        return self.norm(self.out(out)) + x

    def _heads(self, x: Tensor) -> Tensor:
        """(B, heads * C, H, W) -> (B * heads, C, H, W)."""
        return x.reshape(-1, x.shape[1] // self.num_heads, *x.shape[2:])


def part_weight(num_parts: int, channels: int) -> nn.Parameter:
    """Vectors w_n (N, C) of a mixture, uniform in +-N^-1/2.

    One part has the weight 1 whatever its vector, which then isn't trained.
    """
    weight = torch.empty(num_parts, channels)
    nn.init.uniform_(weight, -(num_parts**-0.5), num_parts**-0.5)
    return nn.Parameter(weight, requires_grad=num_parts > 1)
