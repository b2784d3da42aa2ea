"""SpineNet."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor

from ...models.backbones.frozen_parts import NormEvalMixin
from ...models.checks import pick, refuse_other_weights
from .blocks import Merge, make_activation, make_group
from .functional import drop_connect_rates, max_pool
from .graph import (
    ARCHS,
    BLOCKS,
    MAX_LEVEL,
    MIN_LEVEL,
    STEM,
    extra_edges,
    nodes_of,
)

_INIT = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


@MODELS.register_module()
class SpineNet(NormEvalMixin, BaseModule):
    """Backbone whose nodes go up and down in resolution.

    Each node merges two earlier ones of any resolution, and five of them are
    P3 to P7, so there is no neck.

    Paper: SpineNet, CVPR 2020, arXiv 1912.05027. State dicts have the names of
    the port lucifer443/SpineNet-Pytorch, whose defaults are those here. The
    official code (tensorflow/tpu) activates the outputs (``endpoint_act``),
    pads max-poolings at the right and the bottom (``same_pad_pool``) and does
    not start blocks as their shortcut (``zero_init_residual=False``).

    Args:
        arch: ``'49S'``, ``'49'``, ``'96'``, ``'143'`` or ``'190'``.
        output_level: Levels of the outputs, 3 to 7. What others need alone is
            not built.
        width: Factor of the filters of all nodes; by default that of ``arch``,
            as the next three.
        repeats: Blocks per node.
        alpha: Factor of a parent's filters in its resampling.
        out_channels: Channels of the outputs.
        stem_channels: Channels of the first convolution, 64 in the paper.
        norm_cfg: Config of the norms. By default batch normalization with
            the port's momentum and epsilon; 143 and 190 have ``SyncBN``,
            because their training is known to end in NaN without.
        act_cfg: Config of the activations; ``dict(type='SiLU')`` is the swish
            of protocol C.
        drop_connect_rate: Stochastic depth of the last node, which grows from
            0; 0.2 in protocol C.
        drop_block: Arguments of DropBlock after each convolution of a block,
            ``dict(drop_prob=..., size=...)``; protocol A has it.
        endpoint_act: Activate the outputs.
        zero_init_residual: Start blocks as their shortcut.
        same_pad_pool: Pad max-poolings as TensorFlow does.
        with_cp: Compute activations of blocks again in the backward pass.
        norm_eval: Keep batch normalization in eval mode.
        init_cfg: Initialization; by default Kaiming's.

    Raises:
        ValueError: An unknown arch (with the nearest name), levels out of
            range, a number that is not positive, a rate outside [0, 1), or
            other keys of ``drop_block``.
    """

    size_divisor = 2**MAX_LEVEL

    def __init__(
        self,
        arch: str = '49',
        output_level: Sequence[int] = (3, 4, 5, 6, 7),
        width: float | None = None,
        repeats: int | None = None,
        alpha: float | None = None,
        out_channels: int | None = None,
        stem_channels: int = 64,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        drop_connect_rate: float = 0.0,
        drop_block: dict | None = None,
        endpoint_act: bool = False,
        zero_init_residual: bool = True,
        same_pad_pool: bool = False,
        with_cp: bool = False,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        # --cfg-options reads a name of digits as a number
        sizes = pick(ARCHS, str(arch).upper(), 'arch')
        given = dict(
            width=width,
            repeats=repeats,
            alpha=alpha,
            out_channels=out_channels,
        )
        sizes = sizes._replace(
            **{k: v for k, v in given.items() if v is not None}
        )
        _check(sizes._asdict(), output_level, drop_connect_rate, drop_block)
        super().__init__(init_cfg=init_cfg or _INIT)
        norm_cfg = norm_cfg or dict(
            type='SyncBN' if sizes.sync_bn else 'BN', momentum=0.01, eps=1e-3
        )
        act_cfg = act_cfg or dict(type='ReLU')
        layer = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        block: dict[str, Any] = dict(
            **layer,
            drop_block=drop_block,
            with_cp=with_cp,
            zero_init=zero_init_residual,
        )
        scale = sizes.width, sizes.repeats
        self.output_level = tuple(output_level)
        self.same_pad_pool = same_pad_pool
        self.norm_eval = norm_eval
        self.nodes = nodes_of(self.output_level)
        self.extra = extra_edges()

        self.conv1 = ConvModule(
            3, stem_channels, 7, stride=2, padding=3, **layer
        )
        self.init_block1 = make_group(stem_channels, STEM, *scale, **block)
        stem = STEM.channels(sizes.width)
        self.init_block2 = make_group(stem, STEM, *scale, **block)
        rates = drop_connect_rates(drop_connect_rate, len(BLOCKS) - 2)
        # by the numbers that the nodes have without the stem
        self.merge_ops = ModuleDict()
        self.scale_permuted_blocks = ModuleDict()
        for i in self.nodes:
            node = BLOCKS[i]
            self.merge_ops[str(i - 2)] = Merge(
                node,
                [BLOCKS[j] for j in node.parents],
                sizes.width,
                sizes.alpha,
                same_pad_pool=same_pad_pool,
                **layer,
            )
            self.scale_permuted_blocks[str(i - 2)] = make_group(
                node.channels(sizes.width),
                node,
                *scale,
                drop_connect_rate=rates[i - 2],
                **block,
            )
        self.endpoint_convs = ModuleDict(
            {
                str(node.level): ConvModule(
                    node.channels(sizes.width),
                    sizes.out_channels,
                    1,
                    norm_cfg=norm_cfg,
                    act_cfg=act_cfg if endpoint_act else None,
                )
                for node in BLOCKS
                if node.is_output and node.level in self.output_level
            }
        )
        self.activation = make_activation(act_cfg)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the levels.

        Args:
            images: Normalized images (B, 3, H, W), H and W multiples of 128.

        Returns:
            Maps (B, ``out_channels``, H / 2**l, W / 2**l) of each level l of
            ``output_level``.

        Raises:
            ValueError: H or W is no multiple of 128.
        """
        height, width = images.shape[2:]
        if height % self.size_divisor or width % self.size_divisor:
            raise ValueError(
                'SpineNet takes images whose height and width are multiples '
                f'of {self.size_divisor}, got {height}x{width}: set '
                f'data_preprocessor.pad_size_divisor={self.size_divisor}'
            )
        x = max_pool(self.conv1(images), 3, 2, self.same_pad_pool)
        feats = {0: self.init_block1(x)}
        feats[1] = self.init_block2(feats[0])
        for i in self.nodes:
            parents = [feats[j] for j in BLOCKS[i].parents]
            x = self.merge_ops[str(i - 2)](parents)
            for j in self.extra.get(i, []):
                x = x + feats[j]
            feats[i] = self.scale_permuted_blocks[str(i - 2)](
                self.activation(x)
            )
        outputs = {
            BLOCKS[i].level: feats[i]
            for i in self.nodes
            if BLOCKS[i].is_output
        }
        return tuple(
            self.endpoint_convs[str(level)](outputs[level])
            for level in self.output_level
        )

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        refuse_other_weights(self, state_dict, prefix, 'spinenet')
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check(
    sizes: dict,
    output_level: Sequence[int],
    drop_connect_rate: float,
    drop_block: dict | None,
) -> None:
    levels = range(MIN_LEVEL, MAX_LEVEL + 1)
    if not output_level or not set(output_level) <= set(levels):
        raise ValueError(
            f'output_level must be levels from {MIN_LEVEL} to {MAX_LEVEL}, '
            f'got {tuple(output_level)}'
        )
    if len(set(output_level)) < len(output_level):
        raise ValueError(
            f'output_level names a level twice: {tuple(output_level)}'
        )
    for name in ('width', 'repeats', 'alpha', 'out_channels'):
        if not sizes[name] > 0:
            raise ValueError(f'{name} must be positive, got {sizes[name]}')
    if not 0 <= drop_connect_rate < 1:
        raise ValueError(
            f'drop_connect_rate must be in [0, 1), got {drop_connect_rate}'
        )
    if drop_block is not None and (
        drop_block.keys() != {'drop_prob', 'size'}
        or not 0 <= drop_block['drop_prob'] < 1
        or drop_block['size'] < 1
    ):
        raise ValueError(
            'drop_block must be dict(drop_prob=..., size=...), a share in '
            f'[0, 1) and at least 1 cell, got {dict(drop_block)}'
        )
