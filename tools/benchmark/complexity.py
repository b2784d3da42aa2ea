"""Parameters and multiply-adds of configs at full size.

``python tools/benchmark/complexity.py CONFIG ... [--shape 800 1280]``

What is counted: `mmdet_assigners.analysis.complexity`.
"""

import argparse
import logging

from mmdet_assigners.analysis.complexity import SHAPE, count_config
from mmdet_assigners.small_scale import load_config


def main() -> None:
    """Print one line per config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+')
    parser.add_argument(
        '--shape', type=int, nargs=2, default=SHAPE, metavar=('H', 'W')
    )
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    for name in args.configs:
        found = count_config(load_config(name), tuple(args.shape))
        print(
            f'{name} | {found.parameters / 1e6:.2f} M | '
            f'{found.flops / 1e9:.1f} G',
            flush=True,
        )


if __name__ == '__main__':
    main()
