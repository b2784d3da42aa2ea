"""The CSP stage and its residual blocks."""

from mmcv.cnn import ConvModule, build_activation_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, cat, nn
from torch.nn import functional as F

NORM = dict(type='BN', requires_grad=True)
LEAKY = dict(type='LeakyReLU', negative_slope=0.1)


def layer_cfg(norm_cfg: dict | None, act_cfg: dict | None) -> dict:
    """Arguments of a ``ConvModule``; mmcv has no activation named Mish."""
    if act_cfg and act_cfg['type'] == 'Mish':
        act_cfg = dict(type=nn.Mish, inplace=False)
    return dict(norm_cfg=norm_cfg, act_cfg=act_cfg)


def add_shortcut(x: Tensor, y: Tensor) -> Tensor:
    """Darknet's shortcut, also between different numbers of channels.

    Args:
        x: Input of a block (B, C, H, W).
        y: Output of its convolutions (B, D, H, W).

    Returns:
        Tensor: ``y``, with the first min(C, D) channels of ``x`` added to its
        first ones.
    """
    missing = y.shape[1] - x.shape[1]
    return y + (F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x)


class DarknetBlock(BaseModule):
    """1x1, 3x3 and the shortcut; nothing after the sum.

    Args:
        in_channels: Channels of the input.
        mid_channels: Channels between the two convolutions.
        out_channels: Channels of the output.
        groups: Groups of the 3x3.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        groups: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(in_channels, mid_channels, 1, **cfg)
        self.conv2 = ConvModule(
            mid_channels, out_channels, 3, padding=1, groups=groups, **cfg
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        return add_shortcut(x, self.conv2(self.conv1(x)))


class ResNetBlock(BaseModule):
    """1x1, 3x3, linear 1x1 and the shortcut; activated after the sum.

    Args: those of ``DarknetBlock``.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        groups: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(in_channels, mid_channels, 1, **cfg)
        self.conv2 = ConvModule(
            mid_channels, mid_channels, 3, padding=1, groups=groups, **cfg
        )
        self.conv3 = ConvModule(
            mid_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None
        )
        self.act = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        y = self.conv3(self.conv2(self.conv1(x)))
        return self.act(add_shortcut(x, y))


BLOCKS: dict[str, type[nn.Module]] = dict(
    darknet=DarknetBlock, resnet=ResNetBlock
)


class CSPStage(BaseModule):
    """A stage of which half the channels bypass the blocks.

    A stride of 2, if any, then two 1x1 convolutions of the same input: the
    bypass, and the main part, which goes through residual blocks and another
    1x1. Both are concatenated, main part first, and fused by a 1x1 transition.
    Two convolutions are one of twice the width and a split of its channels.

    The parts are registered in the order of Darknet's layer lists.

    Paper: CSPNet, CVPR Workshops 2020, arXiv 1911.11929; the layer lists of
    WongKinYiu/CrossStagePartialNetworks.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        hidden_channels: Channels of the bypass and of the blocks' output.
        mid_channels: Channels inside a block.
        num_blocks: Number of blocks.
        block: ``'darknet'`` or ``'resnet'``.
        down_channels: Channels of the 3x3 of stride 2; None: there is none.
        main_channels: Channels of the first block's input, by default
            ``hidden_channels``. Fewer: its shortcut reaches only the first
            channels.
        groups: Groups of the 3x3 convolutions.
        split_act: Activate the bypass and the main part.
        norm_cfg: Config of the norms.
        act_cfg: Config of the activations.

    Raises:
        ValueError: Unknown ``block``, or ``groups`` that don't divide the
            channels of a 3x3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        mid_channels: int,
        num_blocks: int,
        block: str,
        down_channels: int | None = None,
        main_channels: int | None = None,
        groups: int = 1,
        split_act: bool = True,
        norm_cfg: dict = NORM,
        act_cfg: dict = LEAKY,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(
                f'block must be one of {", ".join(BLOCKS)}, got {block!r}'
            )
        for name, width in (
            ('in_channels', in_channels if down_channels else 0),
            ('down_channels', down_channels or 0),
            ('mid_channels', mid_channels),
        ):
            if width % groups:
                raise ValueError(
                    f'groups={groups} must divide the channels of every 3x3: '
                    f'{name} is {width}'
                )
        cfg = layer_cfg(norm_cfg, act_cfg)
        split = cfg if split_act else layer_cfg(norm_cfg, None)
        hidden, width = hidden_channels, down_channels or in_channels
        main = main_channels or hidden
        self.downsample = (
            ConvModule(
                in_channels,
                width,
                3,
                stride=2,
                padding=1,
                groups=groups,
                **cfg,
            )
            if down_channels
            else nn.Identity()
        )
        self.bypass = ConvModule(width, hidden, 1, **split)
        self.main = ConvModule(width, main, 1, **split)
        self.blocks = Sequential(
            *(
                BLOCKS[block](
                    hidden if i else main, mid_channels, hidden, groups, **cfg
                )
                for i in range(num_blocks)
            )
        )
        self.post = ConvModule(hidden, hidden, 1, **cfg)
        self.transition = ConvModule(2 * hidden, out_channels, 1, **cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the stage.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            Tensor: (B, out_channels, H', W'), H' = ceil(H / 2) with a stride.
        """
        x = self.downsample(x)
        y = self.post(self.blocks(self.main(x)))
        return self.transition(cat([y, self.bypass(x)], 1))
