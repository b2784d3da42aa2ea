"""Partial dense blocks with their transitions."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, cat, nn

from ...models.checks import pick
from .stages import LEAKY, NORM, layer_cfg

# mode -> whether it has the transitions T and U
MODES = dict(
    csp=(True, True), fusion_first=(False, True), fusion_last=(True, False)
)


class DenseLayer(BaseModule):
    """A 3x3 convolution; its output is for concatenation.

    Args:
        in_channels: Channels of all that came before.
        growth: Channels of the output.
        norm_cfg: Config of the norm.
        act_cfg: Config of the activation.
    """

    def __init__(
        self, in_channels: int, growth: int, norm_cfg: dict, act_cfg: dict
    ) -> None:
        super().__init__()
        cfg = layer_cfg(norm_cfg, act_cfg)
        self.conv = ConvModule(in_channels, growth, 3, padding=1, **cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, growth, H, W)."""
        return self.conv(x)


class TwoWayLayer(BaseModule):
    """The dense layer of PeleeNet: receptive fields of 3 and 5.

    Args:
        in_channels: Channels of all that came before.
        growth: Channels of the output, half of each way.
        bottleneck: Width of the 1x1 of each way, in units of ``growth / 2``;
            at most half of ``in_channels``.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
    """

    def __init__(
        self,
        in_channels: int,
        growth: int,
        bottleneck: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        half = growth // 2
        inner = max(1, half * bottleneck // 4 * 4)
        if inner > in_channels / 2:
            inner = max(1, in_channels // 8 * 4)
        cfg = layer_cfg(norm_cfg, act_cfg)
        self.near = nn.Sequential(
            ConvModule(in_channels, inner, 1, **cfg),
            ConvModule(inner, half, 3, padding=1, **cfg),
        )
        self.far = nn.Sequential(
            ConvModule(in_channels, inner, 1, **cfg),
            ConvModule(inner, half, 3, padding=1, **cfg),
            ConvModule(half, half, 3, padding=1, **cfg),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, growth, H, W)."""
        return cat([self.near(x), self.far(x)], 1)


class PartialDenseStage(BaseModule):
    """Dense layers that see a part of the channels, and the transitions.

    The first channels of the input, x', bypass the layers; the others, x'',
    go through them: x_i = layer([x'', x_1, ..., x_(i-1)]). Then

    - ``'csp'``: x_T = T([x'', x_1, ...]), the result is U([x', x_T]);
    - ``'fusion_first'``: U([x', x'', x_1, ...]);
    - ``'fusion_last'``: [x', x_T], without U.

    T and U are 1x1 convolutions. Gradients of the layers reach the result
    through T alone in ``'csp'`` and ``'fusion_last'``.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929, equations of the
    partial dense block and figure of the fusions.

    Args:
        in_channels: Channels of the input.
        num_layers: Number of dense layers; ignored if ``layers`` are given.
        growth: Channels that a layer adds.
        gamma: Share of ``in_channels``, rounded down, that enters the layers.
        t_channels: Output of T; not used by ``'fusion_first'``.
        u_channels: Output of U; not used by ``'fusion_last'``.
        mode: See above.
        bottleneck: If not None, layers are those of PeleeNet, this wide.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.

    Raises:
        ValueError: An unknown mode, ``gamma`` that leaves no channels for the
            layers or is above 1, or no width of a T or U that the mode has.
    """

    def __init__(
        self,
        in_channels: int,
        num_layers: int,
        growth: int,
        gamma: float = 0.5,
        t_channels: int = 0,
        u_channels: int = 0,
        mode: str = 'csp',
        bottleneck: int | None = None,
        norm_cfg: dict = NORM,
        act_cfg: dict = LEAKY,
    ) -> None:
        super().__init__()
        with_t, with_u = pick(MODES, mode, 'mode')
        inside = int(gamma * in_channels)
        if not 0 < inside <= in_channels:
            raise ValueError(
                f'gamma must be in (0, 1] and leave channels, got {gamma} of '
                f'{in_channels} channels'
            )
        for name, used, channels in (
            ('t_channels', with_t, t_channels),
            ('u_channels', with_u, u_channels),
        ):
            if used and channels < 1:
                raise ValueError(
                    f'{name} must be positive with mode={mode!r}, got '
                    f'{channels}'
                )
        self.split = [in_channels - inside, inside]
        widths = [inside + growth * i for i in range(num_layers + 1)]
        args = (norm_cfg, act_cfg)
        self.layers = nn.ModuleList(
            DenseLayer(width, growth, *args)
            if bottleneck is None
            else TwoWayLayer(width, growth, bottleneck, *args)
            for width in widths[:-1]
        )
        cfg = layer_cfg(*args)
        width = widths[-1]
        self.t: nn.Module = nn.Identity()
        if with_t:
            self.t = ConvModule(width, t_channels, 1, **cfg)
            width = t_channels
        width += self.split[0]
        self.u: nn.Module = nn.Identity()
        if with_u:
            self.u = ConvModule(width, u_channels, 1, **cfg)
            width = u_channels
        self.out_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        bypass, inside = x.split(self.split, 1)
        dense = dense_forward(inside, self.layers)
        return self.u(cat([bypass, self.t(dense)], 1))


def dense_forward(x: Tensor, layers: Sequence[nn.Module]) -> Tensor:
    """Concatenation of the input with what each layer adds.

    Args:
        x: (B, C, H, W).
        layers: Each sees the concatenation so far.

    Returns:
        Tensor: (B, C + sum of the layers' channels, H, W).
    """
    for layer in layers:
        x = cat([x, layer(x)], 1)
    return x
