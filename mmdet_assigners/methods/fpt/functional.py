"""Attention of FPT that never holds an attention matrix.

Zhang, Zhang, Tang, Wang, Hua, Sun: Feature Pyramid Transformer, ECCV 2020,
arXiv 2007.09451. Names of dimensions: B images (times heads), N parts of the
mixture, Q queries, K keys, D channels of a part, V channels of a value.

The mixture sum_n pi_n softmax(s_n) v is a sum of N heads with the same values.
On CUDA the fused kernels of PyTorch compute the heads; elsewhere the queries
are taken in chunks that the backward pass computes again. Either way memory
grows with Q + K, not with Q * K.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

METHODS = ('auto', 'fused', 'chunked', 'naive')
# Scores held at once, over all images and parts: 16 MiB in float32
MAX_SCORES = 2**22
# Elements of unfolded keys and values held at once: 128 MiB in float32
MAX_WINDOWS = 2**25
_HALF = (torch.float16, torch.bfloat16)
_HALF_PIECES = 3  # of 8 (bfloat16) or 11 bits: the 24 bits of a float32
_ALIGN = 8  # channels; fused kernels want a multiple


def split_parts(x: Tensor, num_parts: int) -> Tensor:
    """Split channels into N contiguous parts.

    Args:
        x: (B, N D, L) or (B, N D, H, W) features.
        num_parts: N.

    Returns:
        Tensor: (B, N, L, D), L = H W.

    Raises:
        ValueError: N doesn't divide the channels.
    """
    channels = x.shape[1]
    if num_parts < 1 or channels % num_parts:
        raise ValueError(
            f'num_parts must divide the {channels} channels, got {num_parts}'
        )
    parts = x.flatten(2).unflatten(1, (num_parts, channels // num_parts))
    return parts.transpose(2, 3)


def part_weights(weight: Tensor, features: Tensor) -> Tensor:
    """Weights pi of the parts: softmax_n(w_n . mean of the features).

    Args:
        weight: (N, C) the vectors w_n.
        features: (B, C, L) or (B, C, H, W) queries or keys of all parts.

    Returns:
        Tensor: (B, N), sums to 1 over N.
    """
    mean = features.flatten(2).mean(2)
    return F.linear(mean, weight).softmax(-1)


def euclidean_features(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Features whose product is ``-|q - k|^2`` but for a constant per query.

    A softmax over the keys ignores the constant ``|q|^2``, so ``2 q.k -
    |k|^2`` is enough: one channel more. Moving queries and keys by the mean
    key changes no distance and keeps ``|k|^2`` small. In half precision it is
    computed in float32 from the rounded keys and stored in three channels
    whose sum is exact.

    Args:
        queries: (B, N, Q, D).
        keys: (B, N, K, D).

    Returns:
        tuple: Queries (B, N, Q, D') and keys (B, N, K, D'), D' a multiple
        of 8.
    """
    dtype = keys.dtype
    exact = torch.promote_types(dtype, torch.float32)
    mean = keys.detach().to(exact).mean(2, keepdim=True)
    queries = (queries.to(exact) - mean).to(dtype)
    keys = (keys.to(exact) - mean).to(dtype)
    rest = -keys.to(exact).square().sum(-1, keepdim=True)
    pieces = []
    for _ in range(_HALF_PIECES if dtype in _HALF else 1):
        pieces.append(rest.to(dtype))
        rest = rest - pieces[-1].to(exact)
    ones = torch.ones_like(queries[..., :1]).expand(
        *queries.shape[:-1], len(pieces)
    )
    return (
        _align(torch.cat((2 * queries, ones), -1)),
        _align(torch.cat((keys, *pieces), -1)),
    )


def mixture_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    priors: Tensor | None = None,
    scale: float = 1.0,
    dropout: float = 0.0,
    method: str = 'auto',
) -> Tensor:
    """Attention with a mixture of softmaxes over N parts of the channels.

    ``out_i = sum_n pi_n sum_j softmax_j(scale q_in . k_jn) v_j``

    Args:
        queries: (B, N, Q, D).
        keys: (B, N, K, D).
        values: (B, K, V), the same for all parts.
        priors: (B, N) weights pi; may be None if N is 1.
        scale: Factor of the products.
        dropout: Share of each part's attention that is dropped; 0 in
            evaluation mode.
        method: 'fused' (kernel of PyTorch), 'chunked' (queries in chunks,
            computed again in the backward pass), 'naive' (holds the N
            matrices) or 'auto': fused on CUDA, else chunked.

    Returns:
        Tensor: (B, Q, V).

    Raises:
        ValueError: ``method`` is unknown, or ``priors`` is missing.
    """
    if method not in METHODS:
        raise ValueError(
            f'method must be one of {", ".join(METHODS)}, got {method!r}'
        )
    if priors is None and queries.shape[1] > 1:
        raise ValueError(
            f'priors must be given with {queries.shape[1]} parts, got None'
        )
    if method == 'auto':
        fused = queries.is_cuda and queries.dtype != torch.float64
        method = 'fused' if fused else 'chunked'
    if method == 'fused':
        return _fused(queries, keys, values, priors, scale, dropout)
    with torch.autocast(queries.device.type, enabled=False):
        exact = torch.promote_types(values.dtype, torch.float32)
        q, k, v = (x.to(exact) for x in (queries, keys, values))
        pi = None if priors is None else priors.to(exact)
        size = q.shape[2]
        if method == 'chunked':
            scores = max(1, q.shape[0] * q.shape[1] * k.shape[2])
            size = max(1, MAX_SCORES // scores)
        chunks = q.split(size, 2)
        outs = in_chunks(
            _mixture, [(chunk, k, v, pi, scale, dropout) for chunk in chunks]
        )
        return torch.cat(outs, 1).to(values.dtype)


def dot_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Mean over the keys of ``(q . k) v``: attention without softmax.

    Linear in the number of positions: keys times values, a (D, V) matrix,
    come first.

    Args:
        queries: (B, Q, D).
        keys: (B, K, D).
        values: (B, K, V).

    Returns:
        Tensor: (B, Q, V).
    """
    # divided before the sum, which could overflow float16
    summary = (keys / keys.shape[1]).transpose(1, 2) @ values
    return queries @ summary


def in_chunks(
    function: Callable[..., Tensor], chunks: Sequence[tuple[Any, ...]]
) -> list[Tensor]:
    """Call a function per chunk, keeping no intermediate of any.

    A single chunk is called plainly: then there is nothing to save.

    Args:
        function: Its tensors must come as arguments.
        chunks: Arguments of each call, e.g. a chunk (B, N, q, D) of queries.

    Returns:
        list: The results, e.g. (B, q, V).
    """
    again = len(chunks) > 1 and torch.is_grad_enabled()
    if again and not torch.compiler.is_compiling():
        return [checkpoint(function, *c, use_reentrant=False) for c in chunks]
    return [function(*c) for c in chunks]


def _align(x: Tensor) -> Tensor:
    return F.pad(x, (0, -x.shape[-1] % _ALIGN))


def _fused(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    priors: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    width = values.shape[-1]
    values = _align(values)[:, None].expand(-1, queries.shape[1], -1, -1)
    heads = F.scaled_dot_product_attention(
        _align(queries), _align(keys), values, dropout_p=dropout, scale=scale
    )[..., :width]
    if priors is None:
        return heads[:, 0]
    return (heads * priors[:, :, None, None].to(heads)).sum(1)


def _mixture(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    priors: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """One product with the values for all parts, unlike the heads."""
    scores = queries * scale @ keys.transpose(2, 3)
    weights = F.dropout(scores.softmax(-1), dropout)
    return _mix(weights, priors) @ values


def _mix(weights: Tensor, priors: Tensor | None) -> Tensor:
    """(B, N, Q, K) attention of the parts -> (B, Q, K) of the mixture."""
    if priors is None:
        return weights[:, 0]
    mixed = priors[:, None] @ weights.flatten(2)
    return mixed.view(weights.shape[0], *weights.shape[2:])
