"""SEPC neck: stacked pyramid convolutions and one conv per task."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .pair_features import FeaturePair
from .pconv import PConv, integrated_norm
from .scale_aligned_conv import ScaleAlignedConv


@MODELS.register_module()
class SEPC(BaseModule):
    """Scale-equalizing pyramid convolution, in place of a head's conv towers.

    ``pconv_num`` pyramid convolutions (`PConv`) that both tasks share, then
    one 3x3 convolution, iBN and ReLU per task. A PConv costs 1.5 ordinary
    convolutions, so 4 of them and the two last ones cost as much as the 4+4
    towers of RetinaNet. Use it after an FPN, with a head of the family
    ``SEPC*Head`` and ``stacked_convs=0``:

    ============ ============ ============= =====
    table row    pconv_deform lcconv_deform ibn
    ============ ============ ============= =====
    PConv        False        False         False
    PConv + iBN  False        False         True
    SEPC-lite    False        True          True
    SEPC         True         True          True
    ============ ============ ============= =====

    Paper: Scale-Equalizing Pyramid Convolution for Object Detection, CVPR
    2020, arXiv 2005.03101.

    Differences from the official code (jshilong/SEPC): its two last convs
    lack their padding, so that its maps lose a cell on each side while the
    anchors stay where they were. We pad; ``head_padding=0`` restores it, as
    the released checkpoints need. ``task_convs=False`` (the neck of a
    two-stage detector) has no official code.

    Args:
        in_channels: Channels of every input level.
        out_channels: Channels of every output level.
        num_levels: Number L of levels.
        pconv_num: Number of pyramid convolutions; 4 in the paper.
        pconv_deform: Scale-aligned kernels in the pyramid convolutions.
        lcconv_deform: Scale-aligned kernels in the two last convolutions.
        ibn: Integrated batch norm after every convolution.
        head_padding: Padding of the two last convolutions in cells: 1, or
            0 for the released checkpoints (level L-1 must then be at least
            3x3).
        task_convs: Append the two last convolutions. Without them the
            output is a plain pyramid, for detectors with ordinary heads.
        init_cfg: mmengine's initialization; by default the paper's: kernels
            N(0, 0.01), biases and offset predictors 0.

    Raises:
        ValueError: An argument is out of range, or deformable last
            convolutions are asked for without the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_levels: int,
        pconv_num: int = 4,
        pconv_deform: bool = False,
        lcconv_deform: bool = False,
        ibn: bool = False,
        head_padding: int = 1,
        task_convs: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, value, minimum in (
            ('num_levels', num_levels, 1),
            ('pconv_num', pconv_num, 1),
        ):
            if value < minimum:
                raise ValueError(f'{name} must be >= {minimum}, got {value}')
        if head_padding not in (0, 1):
            raise ValueError(
                f'head_padding must be 0 or 1, got {head_padding}'
            )
        if lcconv_deform and not task_convs:
            raise ValueError(
                'lcconv_deform=True deforms the task convolutions, which '
                'task_convs=False leaves out'
            )
        self.num_levels = num_levels
        self.task_convs = task_convs
        self.pconvs = nn.ModuleList(
            PConv(
                in_channels if i == 0 else out_channels,
                out_channels,
                deform=pconv_deform,
                ibn=ibn,
            )
            for i in range(pconv_num)
        )
        tasks = ('cls', 'reg') if task_convs else ()
        for task in tasks:
            # before the convolutions, see PConv
            norm = nn.BatchNorm2d(out_channels) if ibn else None
            self.add_module(f'{task}_norm', norm)
        for task in tasks:
            conv = ScaleAlignedConv(
                out_channels,
                out_channels,
                padding=head_padding,
                deform=lcconv_deform,
            )
            self.add_module(f'{task}_conv', conv)

    def forward(
        self, inputs: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, Tensor], ...] | tuple[Tensor, ...]:
        """Fuse a pyramid.

        Args:
            inputs: L maps of shape [B, C, H_l, W_l], finest first.

        Returns:
            For every level the pair of classification and regression
            feature, each of shape [B, C_out, H_l, W_l] (two cells less with
            ``head_padding=0``); without task convolutions one map per level.

        Raises:
            ValueError: There are not L maps, or their sizes don't halve.
        """
        if len(inputs) != self.num_levels:
            raise ValueError(
                f'inputs must be {self.num_levels} levels (num_levels), got '
                f'{len(inputs)}'
            )
        levels = list(inputs)
        for pconv in self.pconvs:
            levels = pconv(levels)
        if not self.task_convs:
            return tuple(levels)
        cls_feats = _task_branch(self.cls_conv, self.cls_norm, levels)
        reg_feats = _task_branch(self.reg_conv, self.reg_norm, levels)
        pairs = zip(cls_feats, reg_feats, strict=True)
        return tuple(FeaturePair(pair) for pair in pairs)


def _task_branch(
    conv: ScaleAlignedConv, norm: nn.BatchNorm2d | None, levels: list[Tensor]
) -> list[Tensor]:
    """Convolution, iBN and ReLU on each [B, C, H_l, W_l] level."""
    outs = [conv(level, x) for level, x in enumerate(levels)]
    if norm is not None:
        outs = integrated_norm(norm, outs)
    return [F.relu(out) for out in outs]
