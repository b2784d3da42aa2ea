"""Parameters and multiply-adds of configs at full size, as mmdet counts them.

``python tools/benchmark/complexity.py CONFIG ... [--shape 800 1280]``

One forward pass without post-processing of a one-stage detector; for a
two-stage one with its 1000 proposals. Counted are convolutions and
matrix products (deformable convolutions among them, without their sampling,
as they run on the CPU), by ``mmengine.analysis``.
"""

import argparse
import functools
import logging

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmdet_assigners


def complexity(name: str, shape: tuple[int, int]) -> tuple[float, float]:
    """Millions of parameters and billions of multiply-adds of a config.

    Args:
        name: Ours, or ``mmdet::<config>``.
        shape: Height and width of the image in pixels.
    """
    init_default_scope('mmdet')
    if name.startswith('mmdet::'):
        cfg = Config.fromstring(f'_base_ = {name!r}', '.py')
    else:
        cfg = mmdet_assigners.get_config(name)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).eval()
    sample = DetDataSample(
        metainfo=dict(
            img_shape=shape,
            ori_shape=shape,
            pad_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1.0, 1.0),
        )
    )
    model.forward = functools.partial(model.forward, data_samples=[sample])
    inputs = (torch.zeros(1, 3, *shape),)
    with torch.no_grad():
        result = get_model_complexity_info(
            model, inputs=inputs, show_table=False, show_arch=False
        )
    return result['params'] / 1e6, result['flops'] / 1e9


def main() -> None:
    """Print one line per config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+')
    parser.add_argument(
        '--shape', type=int, nargs=2, default=(800, 1280), metavar=('H', 'W')
    )
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # mmengine names what it can't count
    for name in args.configs:
        params, flops = complexity(name, tuple(args.shape))
        print(f'{name} | {params:.2f} M | {flops:.1f} G', flush=True)


if __name__ == '__main__':
    main()
