"""Exact Fusion Model: each level with its neighbors."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, cat, nn
from torch.nn import functional as F

from ...models.checks import pick
from .stages import LEAKY, NORM, layer_cfg

# mode -> how many finer and coarser levels a level gets; None: all
REACH: dict[str, tuple[int | None, int | None]] = dict(
    efm=(1, 1), fpn=(0, 1), gfm=(None, None)
)


def maxout(x: Tensor, pieces: int) -> Tensor:
    """Maximum over groups of consecutive channels.

    Args:
        x: (B, C, H, W).
        pieces: Channels of a group; 1 if it does not divide C.

    Returns:
        Tensor: (B, C / pieces, H, W).
    """
    if x.shape[1] % pieces:
        return x
    return x.unflatten(1, (-1, pieces)).amax(2)


def num_parts(mode: str, num_levels: int) -> list[int]:
    """How many maps are concatenated for each level.

    Args:
        mode: ``'efm'``, ``'fpn'`` or ``'gfm'``.
        num_levels: Number of levels.
    """
    return [len(_levels(mode, i, num_levels)) for i in range(num_levels)]


def _levels(mode: str, level: int, count: int) -> range:
    finer, coarser = pick(REACH, mode, 'mode')
    first = 0 if finer is None else max(0, level - finer)
    last = count - 1 if coarser is None else min(count - 1, level + coarser)
    return range(first, last + 1)


class Fusion(BaseModule):
    """Laterals, resized to each other, concatenated, compressed by Maxout.

    Finer levels come by 3x3 convolutions of stride 2, one per level, coarser
    ones by nearest up-sampling; finest first.

    Args:
        in_channels: Channels of each level, finest first.
        channels: Channels of the laterals.
        pieces: Of the Maxout.
        mode: What a level gets: ``'efm'``: both neighbors, ``'fpn'``: the
            coarser one, ``'gfm'``: all levels.
        norm_cfg: Config of the norms; None: convolutions alone.
        act_cfg: Config of the activations; None: there are none.

    Raises:
        ValueError: Unknown mode, or a number that is not positive.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        pieces: int = 2,
        mode: str = 'efm',
        norm_cfg: dict | None = NORM,
        act_cfg: dict | None = LEAKY,
    ) -> None:
        super().__init__()
        if pieces < 1:
            raise ValueError(f'pieces must be at least 1, got {pieces}')
        parts = num_parts(mode, len(in_channels))
        self.out_channels = [
            channels * n // (1 if channels * n % pieces else pieces)
            for n in parts
        ]
        self.pieces, self.mode = pieces, mode
        # the convolutions are followed by a norm, or bare
        cfg = dict(layer_cfg(norm_cfg, act_cfg), bias=False)
        self.lat = nn.ModuleList(
            ConvModule(width, channels, 1, **cfg) for width in in_channels
        )
        finer = pick(REACH, mode, 'mode')[0]
        self.down = nn.ModuleList(
            ConvModule(channels, channels, 3, stride=2, padding=1, **cfg)
            for _ in in_channels[1:]
            if finer != 0
        )

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Fuse L levels.

        Args:
            inputs: L maps (B, C_l, H_l, W_l), finest first. A level may be
                a cell larger or smaller than half of the finer one.

        Returns:
            list: L maps (B, out_channels[l], H_l, W_l).
        """
        laterals = [conv(x) for conv, x in zip(self.lat, inputs, strict=True)]
        # every lateral at the sizes of all coarser levels that need it
        sizes = [x.shape[-2:] for x in laterals]
        at: dict[tuple[int, int], Tensor] = {}
        for i, x in enumerate(laterals):
            at[i, i] = x
            for j in range(i + 1, len(laterals)):
                if i not in _levels(self.mode, j, len(laterals)):
                    break
                at[i, j] = _fit(self.down[j - 1](at[i, j - 1]), sizes[j])
        outs = []
        for j, size in enumerate(sizes):
            parts = [
                at[i, j] if i <= j else _fit(laterals[i], size)
                for i in _levels(self.mode, j, len(laterals))
            ]
            outs.append(maxout(cat(parts, 1), self.pieces))
        return outs


def _fit(x: Tensor, size: Sequence[int]) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, tuple(size), mode='nearest')


@MODELS.register_module()
class EFM(BaseModule):
    """Exact Fusion Model: a neck of neighboring levels and Maxout.

    A box that is matched to an anchor of one level is bounded by the anchors
    of its neighbors, so each level gets the features of both. Maxout
    compresses the concatenation, and a 3x3 gives the output.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929. The official
    configuration is not published: order of the parts, pieces and widths are
    ours.

    Args:
        in_channels: Channels of the backbone's levels, finest first.
        out_channels: Channels of each output, one number or finest first.
        channels: Channels of the laterals.
        pieces: Of the Maxout.
        mode: What a level gets: ``'efm'``: both neighbors, ``'fpn'``: the
            coarser one, ``'gfm'``: all levels.
        coarsest_first: Order of the outputs; YOLOv3's heads want True.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
        init_cfg: Initialization.

    Raises:
        ValueError: Unknown mode, or a number of channels that does not fit.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int | Sequence[int],
        channels: int = 256,
        pieces: int = 2,
        mode: str = 'efm',
        coarsest_first: bool = False,
        norm_cfg: dict = NORM,
        act_cfg: dict = LEAKY,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(out_channels, int):
            out_channels = [out_channels] * len(in_channels)
        if len(out_channels) != len(in_channels):
            raise ValueError(
                f'out_channels must be one number or {len(in_channels)}, one '
                f'per level, got {list(out_channels)}'
            )
        self.coarsest_first = coarsest_first
        self.fusion = Fusion(
            in_channels, channels, pieces, mode, norm_cfg, act_cfg
        )
        self.out_convs = nn.ModuleList(
            ConvModule(
                width, out, 3, padding=1, **layer_cfg(norm_cfg, act_cfg)
            )
            for width, out in zip(
                self.fusion.out_channels, out_channels, strict=True
            )
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the levels.

        Args:
            inputs: L maps (B, C_l, H_l, W_l), finest first.

        Returns:
            tuple: L maps (B, out_channels[l], H_l, W_l).
        """
        fused = self.fusion(inputs)
        outs = [c(x) for c, x in zip(self.out_convs, fused, strict=True)]
        return tuple(outs[::-1] if self.coarsest_first else outs)
