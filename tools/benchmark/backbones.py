"""Backbones against the plain one of the same depth."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from _harness import Case, main
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import mmdet_assigners  # noqa: F401 registers the backbones

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SMALL = (1, 3, 224, 224)  # B, 3, H, W
LARGE = (2, 3, 448, 640)
# name, ours, peer's name, peer
_R50 = dict(type='ResNet', depth=50)
_X50 = dict(type='ResNeXt', depth=50, groups=32, base_width=4)
_R50_FPN = dict(
    neck=dict(
        type='FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs='on_output',
        num_outs=5,
    ),
    **_R50,
)
ROWS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ('PyConvResNet-50', dict(_R50, type='PyConvResNet'), 'ResNet-50', _R50),
    (
        'PyConvHGResNet-50',
        dict(_R50, type='PyConvHGResNet'),
        'ResNet-50',
        _R50,
    ),
    ('PSResNet-50', dict(_R50, type='PSResNet'), 'ResNet-50', _R50),
    (
        'PSResNet-50, zeros multiplied',
        dict(_R50, type='PSResNet', apply_mask_in_forward=False),
        'ResNet-50',
        _R50,
    ),
    ('PSResNeXt-50', dict(_X50, type='PSResNeXt'), 'ResNeXt-50', _X50),
    ('CSPResNeXt-50', dict(type='CSPResNeXt'), 'ResNeXt-50', _X50),
    ('CSPResNet-50', dict(type='CSPResNet'), 'ResNet-50', _R50),
    (
        'CSPDarknet-53',
        dict(type='CSPDarknet53'),
        'Darknet-53',
        dict(type='Darknet'),
    ),
    (
        'CSPPeleeNet',
        dict(type='CSPPeleeNet'),
        'PeleeNet',
        dict(type='PeleeNet'),
    ),
    ('SpineNet-49', dict(type='SpineNet'), 'ResNet-50-FPN', _R50_FPN),
    ('HitBackbone', dict(type='HitBackbone'), 'ResNet-50', _R50),
]


def build(cfg: dict) -> nn.Module:
    """A backbone, and its neck if it has one."""
    cfg = dict(cfg, norm_eval=False)
    neck = cfg.pop('neck', None)
    backbone = MODELS.build(cfg)
    return nn.Sequential(backbone, MODELS.build(neck)) if neck else backbone


def fit(shape: tuple[int, ...], divisor: int) -> tuple[int, ...]:
    """Sides that a backbone takes."""
    sides = (-(-side // divisor) * divisor for side in shape[2:])
    return (*shape[:2], *sides)


def multiply_adds(cfg: dict, shape: tuple[int, ...]) -> float:
    """Of the convolutions, counted without memory."""
    with torch.device('meta'):
        model = build(cfg)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(shape))
    return counter.get_total_flops() / 2


def inference(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward without gradients, in eval mode."""

    def work() -> None:
        model.eval()
        with torch.no_grad():
            model(x)

    return work


def training(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward with batch statistics."""

    def work() -> None:
        model.train()
        sum(out.sum() for out in model(x)).backward()
        model.zero_grad()

    return work


def cases(quick: bool) -> Iterator[Case]:
    """Two rows per backbone."""
    init_default_scope('mmdet')
    for name, ours, peer_name, peer in ROWS:
        models = [build(cfg).to(DEVICE) for cfg in (ours, peer)]
        divisor = getattr(models[0], 'size_divisor', 1)
        shape = fit(SMALL if quick else LARGE, divisor)
        x = torch.randn(shape, device=DEVICE)
        size = 'B={} {}x{}'.format(shape[0], *shape[2:])
        cost = multiply_adds(peer, shape) / multiply_adds(ours, shape)
        for title, work in (
            ('forward', inference),
            ('forward+backward', training),
        ):
            yield Case(
                f'{name} {title} {size}, multiply-adds {cost:.2f}',
                peer_name,
                *(work(model, x) for model in models),
            )


if __name__ == '__main__':
    main(cases, __doc__)
