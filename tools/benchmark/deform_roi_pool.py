"""Deformable RoI pooling against mmcv's op, RoIAlign and the definition.

RoIs of all sizes on P2 to P5 of an 800x1344 image, 7x7 bins. mmcv's op runs
on CUDA alone; on a CPU mmcv's RoIAlign with as many samples is the peer that
costs at least as much. The definition keeps all samples of a RoI.
"""

from collections.abc import Callable, Iterator

import torch
from _harness import Case, main
from mmcv.ops import deform_roi_pool as mmcv_deform_roi_pool
from mmcv.ops import roi_align
from torch import Tensor

from mmdet_assigners.ops.deform_roi_pool import (
    deform_roi_pool,
    deform_roi_pool_reference,
)

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
BINS = 7
Pool = Callable[[], Tensor]


class Work:
    """Maps (1, C, H_l, W_l), N RoIs and their levels and offsets."""

    def __init__(self, count: int, channels: int) -> None:
        torch.manual_seed(0)
        self.maps = [
            torch.randn(1, channels, int(800 * s), int(1344 * s)).to(DEVICE)
            for s in SCALES
        ]
        side = torch.exp(3 + 3.5 * torch.rand(count, 1))
        ratio = torch.exp(torch.randn(count, 1) / 2)
        sides = torch.cat((side * ratio, side / ratio), 1).clamp(max=790)
        start = torch.rand(count, 2) * (torch.tensor([1333.0, 800]) - sides)
        rois = torch.cat((torch.zeros(count, 1), start, start + sides), 1)
        self.rois = rois.to(DEVICE)
        level = torch.log2(sides.prod(1).sqrt() / 56).floor().clamp(0, 3)
        self.levels = level.long().to(DEVICE)
        self.offset = torch.randn(count, 2, BINS, BINS).to(DEVICE)
        for leaf in (*self.maps, self.offset):
            leaf.requires_grad_()

    def ours(self, **options: object) -> Tensor:
        """All levels at once."""
        args = self.maps, self.rois, BINS, SCALES, self.offset, self.levels
        return deform_roi_pool(*args, **options)

    def definition(self, **options: object) -> Tensor:
        """RoI by RoI."""
        args = self.maps, self.rois, BINS, SCALES, self.offset, self.levels
        return deform_roi_pool_reference(*args, **options)

    def by_level(self, pool: Callable[..., Tensor]) -> Tensor:
        """A pooling of one map on the RoIs of each level."""
        outs = []
        for level, (x, scale) in enumerate(
            zip(self.maps, SCALES, strict=True)
        ):
            own = self.levels == level
            outs.append(pool(x, self.rois[own], self.offset[own], scale))
        return torch.cat(outs)

    def mmcv(self, ratio: int) -> Tensor:
        """The CUDA kernel, level by level."""
        return self.by_level(
            lambda x, rois, offset, scale: mmcv_deform_roi_pool(
                x, rois, offset, (BINS, BINS), scale, ratio, 0.1
            )
        )

    def roi_align(self, ratio: int) -> Tensor:
        """Without offsets, level by level."""
        return self.by_level(
            lambda x, rois, _, scale: roi_align(
                x, rois, (BINS, BINS), scale, ratio
            )
        )

    def run(self, pool: Pool, backward: bool) -> Callable[[], None]:
        """Apply a pooling, with gradients to maps and offsets or without."""

        def work() -> None:
            with torch.set_grad_enabled(backward):
                out = pool()
            if backward:
                leaves = [*self.maps, self.offset]
                weight = torch.ones_like(out)
                torch.autograd.grad(out, leaves, weight, allow_unused=True)

        return work


def cases(quick: bool) -> Iterator[Case]:
    """Quick: 64 RoIs and 64 channels instead of 512 and 256."""
    count, channels = (64, 64) if quick else (512, 256)
    work, few = Work(count, channels), Work(16, channels)
    options = [dict(mode='legacy', sampling_ratio=4)]
    options += [dict(mode='aligned', sampling_ratio=ratio) for ratio in (2, 4)]
    for option in options:
        ratio = option['sampling_ratio']
        kind = f'{option["mode"]} S={ratio}'
        for backward in (False, True):
            passes = f'forward{"+backward" * backward}'
            cuda = DEVICE == 'cuda'
            peer = 'deform_roi_pool' if cuda else 'RoIAlign'
            theirs = work.mmcv if cuda else work.roi_align
            yield Case(
                f'{passes} {kind} N={count} C={channels}',
                f"mmcv's {peer}",
                work.run(lambda o=option: work.ours(**o), backward),
                work.run(lambda r=ratio, t=theirs: t(r), backward),
            )
            yield Case(
                f'{passes} {kind} N=16 C={channels}',
                'the definition RoI by RoI',
                few.run(lambda o=option: few.ours(**o), backward),
                few.run(lambda o=option: few.definition(**o), backward),
            )
    if not quick:
        many = Work(4 * count, channels)
        option = options[0]
        yield Case(
            f'forward+backward legacy S=4 N={4 * count} C={channels}',
            f'N={count}',
            many.run(lambda: many.ours(**option), True),
            work.run(lambda: work.ours(**option), True),
        )


if __name__ == '__main__':
    main(cases, __doc__.splitlines()[0], quick_s=1.0)
