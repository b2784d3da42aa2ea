"""Optimal prior and score thresholds of a detector on a data set.

``python tools/prior_statistics.py CONFIG [--data bccd] [--mini] [-o FILE]``

Counts the positive and negative candidates under the detector's own anchors
and matcher (RPN of two-stage detectors), from the annotations alone, and
prints ``prior_prob`` and ``score_thr`` of Sampling-Free. FILE gets these and
the thresholds per class, for ``test_cfg.class_score_thr``.
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_assigners.cli.common import resolve_config
from mmdet_assigners.methods.sampling_free.prior_statistics import count_candidates, write_statistics
from mmdet_assigners.small_scale import (
    apply_small_scale,
    use_data,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='file, name of ours or mmdet::NAME')
    parser.add_argument('--data', help='data set other than the config says')
    parser.add_argument(
        '--mini', action='store_true', help='under the small-scale overlay'
    )
    parser.add_argument(
        '--scale', type=int, nargs=2, metavar=('LONG', 'SHORT')
    )
    parser.add_argument('--limit', type=int, help='pictures at most')
    parser.add_argument('-o', '--out', type=Path, help='JSON file')
    args = parser.parse_args()
    init_default_scope('mmdet')
    cfg = Config.fromfile(resolve_config(args.config))
    try:
        if args.mini:
            apply_small_scale(cfg, args.data or 'shapes')
        elif args.data:
            use_data(cfg, args.data)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    stats = count_candidates(cfg, args.scale, args.limit)
    print(f'positives  {stats.positives}')
    print(f'negatives  {stats.negatives}')
    print(f'prior_prob {stats.prior:.3g}')
    print(f'score_thr  {stats.global_threshold:.3g}')
    if args.out:
        source = f'{args.config} on {args.data or "its own data"}'
        write_statistics(args.out, stats, source)


if __name__ == '__main__':
    main()
