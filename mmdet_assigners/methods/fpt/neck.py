"""FPT neck: every level attends to itself and to all others."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .grounding_transformer import (
    PUBLISHED_MODES,
    GroundingTransformer,
    LocalGroundingTransformer,
    PublishedGroundingTransformer,
)
from .rendering_transformer import (
    PublishedRenderingTransformer,
    RenderingTransformer,
)
from .self_transformer import SelfTransformer

GT_MODES = ('euclidean', 'local', *PUBLISHED_MODES)
RT_MODES = ('published', 'paper')


_INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    a=1,
    distribution='uniform',
    mode='fan_in',
    nonlinearity='leaky_relu',
)


@MODELS.register_module()
class FPT(BaseModule):
    """Feature Pyramid Transformer, in place of an FPN.

    1x1 convolutions bring the levels to one width; nothing is added top-down.
    Then each level concatenates its Self-Transformer (ST), a Rendering
    Transformer (RT) of every finer level, a Grounding Transformer (GT) of
    every coarser one and itself, and a 3x3 convolution brings them back to one
    width. Transformers read the 1x1 maps and share no weights.

    Paper: Feature Pyramid Transformer, ECCV 2020, arXiv 2007.09451.

    Differences from the official code (dongzhang89/FPT, which doesn't run as
    published): the GT is the paper's, ``gt_mode='dot'`` restores the
    published one; strides of the RT are those between the levels; the gate
    of the RT has a norm that works with one image,
    ``gate_norm_cfg=dict(type='BN')`` restores the published one.

    Args:
        in_channels: Of the L input levels, finest first.
        out_channels: C of all levels.
        num_outs: Output levels; those beyond L are P5 subsampled.
        n_mix: Parts of the ST's mixture; 2.
        gt_parts: Parts of the GT's mixture ('euclidean' and 'local').
        gt_mode: 'euclidean' (paper), 'local' (LGT of the paper), 'dot'
            (published) or 'embedded' (published, with softmax).
        similarity_scale: Of the Euclidean similarity; 1 in the paper,
            1 / sqrt(C) keeps the first softmax soft.
        square_size: Side of the square of 'local', odd; 5
            by default.
        rt_mode: 'published' or 'paper'.
        key_channels: Of queries and keys in ST and GT ('euclidean' and
            'local'); None is C.
        kv_pool: Stride of the pooling of the ST's keys and values; 2.
        st_levels: Levels with an ST, 0 the finest; None is all.
        gt_levels: Levels whose queries ask the coarser ones; None is all.
        rt_levels: Levels that the finer ones render; None is all.
        norm_cfg: Norm in the transformers; None is batch norm. SyncBN with
            several processes.
        gate_norm_cfg: Norm of the RT's gate; None is one group norm over all
            channels.
        conv_norm_cfg: Norm behind the 1x1 and 3x3 convolutions; None.
        dropout: Share of the ST's attention dropped in training; 0.1.
        drop_block_cfg: Layer on the outputs in training, e.g.
            ``dict(type='DropBlock', drop_prob=0.2, block_size=3)``; None, as
            in the official code, leaves it out.
        init_cfg: mmengine's initialization; by default the official one:
            kaiming_uniform with a=1, biases 0.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        n_mix: int = 2,
        gt_parts: int = 2,
        gt_mode: str = 'euclidean',
        similarity_scale: float = 1.0,
        square_size: int = 5,
        rt_mode: str = 'published',
        key_channels: int | None = None,
        kv_pool: int = 2,
        st_levels: Sequence[int] | None = None,
        gt_levels: Sequence[int] | None = None,
        rt_levels: Sequence[int] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        gate_norm_cfg: dict[str, Any] | None = None,
        conv_norm_cfg: dict[str, Any] | None = None,
        dropout: float = 0.1,
        drop_block_cfg: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or _INIT)
        levels = range(len(in_channels))
        if num_outs < len(levels):
            raise ValueError(
                f'num_outs must be at least {len(levels)}, the levels of '
                f'in_channels, got {num_outs}'
            )
        norm_cfg = norm_cfg or dict(type='BN')
        st = partial(
            SelfTransformer,
            out_channels,
            n_mix,
            key_channels,
            kv_pool=kv_pool,
            dropout=dropout,
            norm_cfg=norm_cfg,
        )
        gt = _grounding(
            gt_mode,
            out_channels,
            gt_parts,
            key_channels,
            similarity_scale,
            square_size,
            norm_cfg,
        )
        rt = _rendering(rt_mode, out_channels, norm_cfg, gate_norm_cfg)
        self.num_outs = num_outs
        self.in_channels = tuple(in_channels)
        # ModuleDict keys: '<level>' and '<level that is computed>_<other>'
        self.self_transformers = nn.ModuleDict(
            {str(i): st() for i in _chosen('st_levels', st_levels, levels)}
        )
        self.grounding = nn.ModuleDict(
            {
                f'{i}_{other}': gt()
                for i in _chosen('gt_levels', gt_levels, levels)
                for other in levels[i + 1 :]
            }
        )
        self.rendering = nn.ModuleDict(
            {
                f'{i}_{other}': rt(stride=2 ** (i - other))
                for i in _chosen('rt_levels', rt_levels, levels)
                for other in reversed(levels[:i])
            }
        )
        conv = partial(ConvModule, norm_cfg=conv_norm_cfg, act_cfg=None)
        self.lateral_convs = nn.ModuleList(
            conv(channels, out_channels, 1) for channels in in_channels
        )
        self.out_convs = nn.ModuleList(
            conv(
                (len(self._slots(i)) + 1) * out_channels,
                out_channels,
                3,
                padding=1,
            )
            for i in levels
        )
        self.drop_block: nn.Module = nn.Identity()
        if drop_block_cfg is not None:
            self.drop_block = MODELS.build(drop_block_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Mix a pyramid.

        Args:
            inputs: L maps of shape [B, C_l, H_l, W_l], finest first, sizes
                halving (rounded up).

        Returns:
            tuple: ``num_outs`` maps of shape [B, C, H_l, W_l].

        Raises:
            ValueError: There are not L maps.
        """
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'inputs must be {len(self.in_channels)} levels, got '
                f'{len(inputs)}'
            )
        maps = [
            conv(x) for conv, x in zip(self.lateral_convs, inputs, strict=True)
        ]
        outs = []
        for i, conv in enumerate(self.out_convs):
            slots = [
                module(*(maps[level] for level in levels))
                for module, *levels in self._slots(i)
            ]
            slots.append(maps[i])
            outs.append(self.drop_block(conv(torch.cat(slots, 1))))
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)

    def _slots(self, level: int) -> list[tuple]:
        """Transformers of a level in order, with the levels they read."""
        slots: list[tuple] = []
        if str(level) in self.self_transformers:
            slots.append((self.self_transformers[str(level)], level))
        finer = range(level - 1, -1, -1)
        coarser = range(level + 1, len(self.in_channels))
        for table, others in (
            (self.rendering, finer),
            (self.grounding, coarser),
        ):
            for other in others:
                if f'{level}_{other}' in table:
                    slots.append((table[f'{level}_{other}'], level, other))
        return slots


def _grounding(
    mode: str,
    channels: int,
    parts: int,
    key_channels: int | None,
    scale: float,
    square_size: int,
    norm_cfg: dict[str, Any],
) -> Callable[[], nn.Module]:
    """What makes a Grounding Transformer of ``gt_mode``."""
    if mode not in GT_MODES:
        raise ValueError(
            f'gt_mode must be one of {", ".join(GT_MODES)}, got {mode!r}'
        )
    if mode in PUBLISHED_MODES:
        return partial(
            PublishedGroundingTransformer,
            channels,
            mode=mode,
            norm_cfg=norm_cfg,
        )
    options: dict[str, Any] = dict(
        num_parts=parts, key_channels=key_channels, similarity_scale=scale
    )
    if mode == 'euclidean':
        return partial(GroundingTransformer, channels, **options)
    return partial(LocalGroundingTransformer, channels, square_size, **options)


def _rendering(
    mode: str,
    channels: int,
    norm_cfg: dict[str, Any],
    gate_norm_cfg: dict[str, Any] | None,
) -> Callable[..., nn.Module]:
    """What makes a Rendering Transformer of ``rt_mode`` and a stride."""
    if mode not in RT_MODES:
        raise ValueError(
            f'rt_mode must be one of {", ".join(RT_MODES)}, got {mode!r}'
        )
    if mode == 'paper':
        return partial(RenderingTransformer, channels)
    return partial(
        PublishedRenderingTransformer,
        channels,
        norm_cfg=norm_cfg,
        gate_norm_cfg=gate_norm_cfg,
    )


def _chosen(
    name: str, chosen: Sequence[int] | None, levels: range
) -> Sequence[int]:
    """The levels of an argument; None is all."""
    if chosen is None:
        return levels
    wrong = [level for level in chosen if level not in levels]
    if wrong or len(set(chosen)) < len(chosen):
        raise ValueError(
            f'{name} must be different levels of 0..{levels[-1]}, got '
            f'{tuple(chosen)}'
        )
    return sorted(chosen)
