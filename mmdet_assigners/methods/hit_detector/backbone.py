"""The found backbone."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.checks import refuse_other_weights
from .ops import BN, Options, check_ops, make_op

# operation and channels of each layer of the paper's backbone
_LAYERS = (
    ('conv3', 16),
    ('ir_k3_e3', 48),
    ('ir_k3_e3', 48),
    ('ir_k3_e3_r2', 48),
    ('ir_k3_e3', 48),
    ('ir_k5_e6', 96),
    ('ir_k5_e6', 96),
    ('ir_k3_e3', 96),
    ('ir_k3_e3', 96),
    ('ir_k7_e6', 184),
    ('ir_k5_e6', 184),
    ('ir_k5_e6_r2', 184),
    ('ir_k5_e3', 184),
    ('ir_k5_e6', 256),
    ('ir_k5_e6_r2', 256),
    ('ir_k5_e6', 256),
    ('ir_k5_e6_r2', 256),
    ('ir_k7_e6', 352),
    ('ir_k5_e6', 352),
    ('ir_k5_e6_r2', 352),
    ('ir_k5_e6', 352),
    ('ir_k3_e3', 1024),
    ('conv1', 2048),
)
GENOTYPE = tuple(op for op, _ in _LAYERS)
CHANNELS = tuple(channels for _, channels in _LAYERS)
STRIDES = tuple(2 if i in (0, 1, 5, 9, 17) else 1 for i in range(23))
OUT_INDICES = (4, 8, 16, 22)


@MODELS.register_module()
class HitBackbone(BaseModule):
    """A chain of candidate operations; by default the one that was found.

    Paper: Hit-Detector, CVPR 2020, arXiv 2003.11818. Parameters have the
    official names. The default has 48, 96, 256 and 2048 channels at strides
    4, 8, 16 and 32.

    Args:
        genotype: Operation of each layer, see ``make_op``.
        out_channels: Of each layer.
        strides: Of each layer.
        out_indices: Layers whose outputs are returned, ascending.
        in_channels: Channels of the images.
        frozen_stages: How many outputs' layers are not trained, 0: the first
            layer alone, -1: all are trained, as officially.
        norm_cfg: Config of the norms; officially SyncBN.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: An unknown operation, lists of unequal lengths, or layers
            out of range; on loading, a checkpoint of a ResNet.
    """

    def __init__(
        self,
        genotype: Sequence[str] = GENOTYPE,
        out_channels: Sequence[int] = CHANNELS,
        strides: Sequence[int] = STRIDES,
        out_indices: Sequence[int] = OUT_INDICES,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_cfg: Options = BN,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        self.genotype = check_ops(genotype, 'genotype of the backbone')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_cfg = norm_cfg
        self.norm_eval = norm_eval
        self._check(out_channels, strides)
        inputs = (in_channels, *out_channels[:-1])
        # channels of input and output, stride
        self.shapes = list(zip(inputs, out_channels, strides, strict=True))
        self.layers = nn.ModuleList(
            self.make_layer(i, *shape) for i, shape in enumerate(self.shapes)
        )
        self._freeze()

    def _check(
        self, out_channels: Sequence[int], strides: Sequence[int]
    ) -> None:
        count = len(self.genotype)
        for name, value in dict(
            out_channels=out_channels, strides=strides
        ).items():
            if len(value) != count:
                raise ValueError(
                    f'{name} must have an entry for each of the {count} '
                    f'operations of genotype, got {len(value)}'
                )
        outs = self.out_indices
        known = range(count)
        if not outs or list(outs) != sorted(set(outs) & set(known)):
            raise ValueError(
                f'out_indices must be ascending layers from 0 to {count - 1}, '
                f'got {outs}'
            )
        if not -1 <= self.frozen_stages <= len(outs):
            raise ValueError(
                f'frozen_stages must be -1 to {len(outs)}, got '
                f'{self.frozen_stages}'
            )

    def make_layer(
        self, index: int, in_channels: int, out_channels: int, stride: int
    ) -> nn.Module:
        """Make a layer.

        Args:
            index: Of the layer.
            in_channels: Channels of its input.
            out_channels: Channels of its output.
            stride: Of the layer.
        """
        return make_op(
            self.genotype[index],
            in_channels,
            out_channels,
            stride,
            self.norm_cfg,
        )

    def run_layer(self, index: int, x: Tensor) -> Tensor:
        """Compute a layer.

        Args:
            index: Of the layer.
            x: Its input (B, C, H, W).
        """
        return self.layers[index](x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs.

        Args:
            x: Images (B, 3, H, W) of any size.

        Returns:
            tuple: A tensor (B, C_l, ceil(H / stride), ceil(W / stride)) for
            each of ``out_indices``.
        """
        outs = []
        for index in range(self.out_indices[-1] + 1):
            x = self.run_layer(index, x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'HitBackbone':
        """Set the mode; frozen layers and norms stay in eval mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        ends = (0, *self.out_indices)
        for layer in self.layers[: ends[self.frozen_stages] + 1]:
            layer.eval().requires_grad_(False)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any
    ) -> None:
        plain = [
            name
            for name in state_dict
            if name.startswith((f'{prefix}layer1.', f'{prefix}conv1.'))
        ]
        if plain:
            raise ValueError(
                f'{len(plain)} keys such as {plain[0]} are of a ResNet: no '
                f'layer of {type(self).__name__} is like one of its; use '
                "weights of the paper's backbone (see the README of "
                'hit_detector) or init_cfg=None'
            )
        refuse_other_weights(self, state_dict, prefix, 'hit_detector')
        super()._load_from_state_dict(state_dict, prefix, *args)
