"""Attention of fine positions to a square of a coarser map.

The locality-constrained grounding transformer of Feature Pyramid Transformer,
ECCV 2020, arXiv 2007.09451. Names of dimensions: B images, N parts, H and W of
the fine map, h and w of the coarse one, S cells of the square.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import functional as fpt


def local_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    priors: Tensor,
    square_size: int,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> Tensor:
    """Mixture attention to the square around a query's own coarse cell.

    The similarity is ``-scale |q_n - k_n|^2`` per part; the cell of a query
    in row i and column j is row ``i h // H``, column ``j w // W``. Cells
    outside the map are included, with key 0 and value 0.

    The queries of one coarse cell share its square, so keys and values are
    unfolded on the coarse map, some rows at a time; the scores of the fine
    map are S numbers per query and part. Computed in float32.

    Args:
        queries: (B, C, H, W); part n has the channels n C / N and on.
        keys: (B, C, h, w).
        values: (B, V, h, w).
        priors: (B, N) weights of the parts.
        square_size: Side of the square in coarse cells, odd; S is its square.
        scale: Factor of the similarity.
        dropout: Share of each part's attention that is dropped.

    Returns:
        Tensor: (B, V, H, W).

    Raises:
        ValueError: ``square_size`` is even or less than 1.
    """
    if square_size < 1 or square_size % 2 == 0:
        raise ValueError(
            f'square_size must be odd and positive, got {square_size}'
        )
    dtype = values.dtype
    with torch.autocast(queries.device.type, enabled=False):
        exact = torch.promote_types(dtype, torch.float32)
        height, width = keys.shape[2:]
        rows, row_places = _groups(queries.shape[2], height, queries.device)
        columns, column_places = _groups(
            queries.shape[3], width, queries.device
        )
        grouped = queries.to(exact).index_select(2, rows.flatten())
        grouped = grouped.index_select(3, columns.flatten())
        half = square_size // 2
        features = torch.cat((keys, values), 1).to(exact)
        features = F.pad(features, (half, half, half, half))
        per_row = features.shape[:2].numel() * square_size**2 * width
        step = max(1, fpt.MAX_WINDOWS // max(1, per_row))
        group = rows.shape[1], columns.shape[1]
        chunks = [
            (
                grouped[:, :, start * group[0] : (start + step) * group[0]],
                features[:, :, start : start + step + square_size - 1],
                priors.to(exact),
                group,
                square_size,
                scale,
                dropout,
            )
            for start in range(0, height, step)
        ]
        out = torch.cat(fpt.in_chunks(_attend, chunks), 2)
        out = out.index_select(2, row_places).index_select(3, column_places)
        return out.to(dtype)


def _groups(
    fine: int, coarse: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Fine rows by their coarse row, and where to find each.

    Returns:
        tuple: (coarse, largest group) indices of fine rows, filled up with
        any others, and (fine,) places of the rows in that table.
    """
    size = -(-fine // coarse)
    first = torch.arange(coarse, device=device) * fine + coarse - 1
    first = first // coarse
    table = first[:, None] + torch.arange(size, device=device)
    rows = torch.arange(fine, device=device)
    cells = rows * coarse // fine
    return table.clamp(max=fine - 1), cells * size + rows - first[cells]


def _attend(
    queries: Tensor,
    features: Tensor,
    priors: Tensor,
    group: tuple[int, int],
    square_size: int,
    scale: float,
    dropout: float,
) -> Tensor:
    """Some rows of the coarse map.

    Args:
        queries: (B, C, rows times group height, w times group width).
        features: (B, C + V, rows + margin, w + margin) keys and values.
        priors: (B, N).
        group: Fine rows and columns per coarse cell.
        square_size: Side of the square.
        scale: Of the similarity.
        dropout: Of the attention.
    """
    batch, channels, height, width = queries.shape
    rows, columns = height // group[0], width // group[1]
    parts = priors.shape[1]
    # b image, n part, d channel, (y, x) coarse cell, (i, j) in the group,
    # s cell of the square, v channel of the values
    windows = F.unfold(features, square_size).unflatten(2, (rows, columns))
    windows = windows.unflatten(1, (features.shape[1], square_size**2))
    keys, values = windows[:, :channels], windows[:, channels:]
    keys = keys.unflatten(1, (parts, -1))
    q = queries.unflatten(1, (parts, -1))
    q = q.unflatten(4, (columns, group[1])).unflatten(3, (rows, group[0]))
    scores = 2 * torch.einsum('bndyixj,bndsyx->bnyxijs', q, keys)
    norms = keys.square().sum(2).permute(0, 1, 3, 4, 2)
    scores = scale * (scores - norms[:, :, :, :, None, None])
    weights = F.dropout(scores.softmax(-1), dropout)
    weights = torch.einsum('bnyxijs,bn->byxijs', weights, priors)
    out = torch.einsum('byxijs,bvsyx->bvyixj', weights, values)
    return out.reshape(batch, -1, height, width)
