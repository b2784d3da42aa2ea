"""SEPC: iBN, deformable convolution, PConv and the whole neck."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from _harness import Case, main
from mmcv.ops import deform_conv2d
from mmdet.models.dense_heads import RetinaHead
from torch import Tensor, nn

from mmdet_assigners.methods.sepc.neck import SEPC
from mmdet_assigners.methods.sepc.pconv import PConv, integrated_norm
from mmdet_assigners.ops.deform_conv import deform_conv

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SMALL = (2, 64, 256, 320)  # B, C, H and W of the image
LARGE = (1, 256, 800, 1280)
ROWS = {
    'PConv': {},
    'PConv + iBN': dict(ibn=True),
    'SEPC-lite': dict(ibn=True, lcconv_deform=True),
    'SEPC': dict(ibn=True, lcconv_deform=True, pconv_deform=True),
}


class Towers(RetinaHead):
    """RetinaNet's 4+4 convs without its predictors."""

    def forward(self, levels: list[Tensor]) -> list[tuple[Tensor, ...]]:
        """Both towers on every [B, C, H_l, W_l] level."""
        outs = []
        for level in levels:
            pair = []
            for tower in (self.cls_convs, self.reg_convs):
                x = level
                for conv in tower:
                    x = conv(x)
                pair.append(x)
            outs.append(tuple(pair))
        return outs


def pyramid(batch: int, channels: int, *size: int) -> list[Tensor]:
    """P3..P7 of an image."""
    sizes = [tuple(-(-n // 8) for n in size)]
    while len(sizes) < 5:
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    return [
        torch.randn(batch, channels, *s, device=DEVICE, requires_grad=True)
        for s in sizes
    ]


def training(module: Callable[..., Any], *args: Any) -> Callable[[], None]:
    """Forward and backward of everything that it returns."""

    def work() -> None:
        outs = module(*args)
        while not isinstance(outs[0], Tensor):
            outs = [x for pair in outs for x in pair]
        torch.autograd.backward([x.sum() for x in outs])

    return work


def inference(module: nn.Module, *args: Any) -> Callable[[], None]:
    """Forward without gradients; the module is put into evaluation mode."""
    module.eval()

    def work() -> None:
        with torch.no_grad():
            module(*args)

    return work


def cases(quick: bool) -> Iterator[Case]:
    """The rows of one size, or of two."""
    for size in (SMALL,) if quick else (SMALL, LARGE):
        batch, channels, height, width = size
        text = f'{height}x{width} B={batch} C={channels}'
        x = pyramid(*size)

        def norms(norm: nn.Module, levels: list[Tensor]) -> list[Tensor]:
            return [norm(level) for level in levels]

        bns = [nn.BatchNorm2d(channels).to(DEVICE) for _ in range(2)]
        yield Case(
            f'integrated_norm train {text}',
            'BatchNorm2d level by level',
            training(integrated_norm, bns[0], x),
            training(norms, bns[1], x),
        )
        weight = torch.randn(channels, channels, 3, 3, device=DEVICE)
        weight.requires_grad_()
        offset = torch.randn(batch, 18, *x[1].shape[-2:], device=DEVICE)
        offset.requires_grad_()
        # im2col_step as large as the batch: the fastest for mmcv
        peer_args = (x[1], offset, weight, 1, 1, 1, 1, 1, False, batch)
        yield Case(
            f'deform_conv train, one level of stride 16, {text}',
            'mmcv.ops.deform_conv2d',
            training(lambda *a: [deform_conv(*a)], x[1], offset, weight, 1, 1),
            training(lambda *a: [deform_conv2d(*a)], *peer_args),
        )
        conv = nn.Conv2d(channels, channels, 3, padding=1).to(DEVICE)
        yield Case(
            f'PConv train {text}',
            'one 3x3 conv and ReLU on every level (2/3 of the multiply-adds)',
            training(PConv(channels, channels).to(DEVICE), x),
            training(lambda y: [conv(level).relu() for level in y], x),  # noqa: B023
        )
        towers = Towers(80, channels, feat_channels=channels).to(DEVICE)
        for mode in (inference, training):
            for name, args in ROWS.items():
                neck = SEPC(channels, channels, 5, **args).to(DEVICE)
                yield Case(
                    f'{name} neck {mode.__name__} {text}',
                    "RetinaNet's 4+4 convs",
                    mode(neck, x),
                    mode(towers, x),
                )


if __name__ == '__main__':
    main(cases, __doc__.splitlines()[0])
