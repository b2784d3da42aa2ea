"""``viz assign``: draw which priors the configs assign to which objects."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..visualization.rows import AssignmentRow


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    viz = subparsers.add_parser(
        'viz', help='pictures of label assignment', description=__doc__
    )
    kinds = viz.add_subparsers(dest='kind', metavar='KIND', required=True)
    parser = kinds.add_parser(
        'assign',
        help='positives per level, their weights and objects, as PNG',
        description='Draws the label assignment of one picture, one row per '
        'config, in the scale of the network input.',
    )
    parser.add_argument(
        '--config',
        nargs='+',
        required=True,
        metavar='CONFIG',
        help='names of our configs, mmdet::name, or paths',
    )
    parser.add_argument('--img', help='picture; needs --ann or --data')
    parser.add_argument('--ann', help='COCO annotation file that lists --img')
    parser.add_argument(
        '--data',
        metavar='NAME|ROOT',
        help='shapes (default), bccd, coco128 or the root of a COCO-format '
        'data set',
    )
    parser.add_argument('--split', choices=('train', 'val'), default='val')
    parser.add_argument(
        '--index', type=int, default=0, help='which picture of the split'
    )
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        default=[],
        metavar='FILE',
        help="weights for each config, '-' for random ones",
    )
    parser.add_argument(
        '--mini',
        action='store_true',
        help='the small-scale form of the configs (see train --mini)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='changes merged into every config',
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--seed', type=int, default=0, help='of weights that are random'
    )
    parser.add_argument('--out', default='assign.png', help='PNG file')


def run(args: argparse.Namespace) -> int:
    """Draw the picture."""
    _check(args)
    configs = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)
    from ..visualization.draw import draw_assignments

    try:
        info, classes = _find_picture(args)
        checkpoints = args.checkpoint or ['-'] * len(configs)
        rows = [
            _assign(args, path, checkpoint, info, len(classes))
            for path, checkpoint in zip(configs, checkpoints, strict=True)
        ]
        out = draw_assignments(rows, classes, args.out)
    except (OSError, ValueError, TypeError, IndexError) as error:
        common.fail(str(error))
    for row in rows:
        counts = row.counts()
        found = int((counts.sum(1) > 0).sum())
        print(
            f'{row.title}: {counts.sum()} positives on {found} of '
            f'{len(counts)} objects'
        )
    print(f'wrote {out}')
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.checkpoint and len(args.checkpoint) != len(args.config):
        common.fail(
            f'{len(args.checkpoint)} checkpoints for {len(args.config)} '
            "configs; give one each, '-' for random weights"
        )
    if args.ann and not args.img:
        common.fail('--ann needs --img, the path of a picture that it lists')
    if args.ann and args.data:
        common.fail('--ann and --data exclude each other')
    if args.img and not (args.ann or args.data):
        common.fail('--img needs its objects: add --ann FILE or --data NAME')
    if Path(args.out).suffix.lower() != '.png':
        common.fail(f'--out {args.out}: expected a file ending in .png')


def _find_picture(
    args: argparse.Namespace,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    from ..datasets.roots import resolve_data
    from ..visualization.samples import find_picture

    if args.ann:
        return find_picture(args.ann, args.img)
    root = resolve_data(args.data or 'shapes')
    split = getattr(root, args.split)
    return find_picture(split.ann_file, args.img, split.img_dir, args.index)


def _assign(
    args: argparse.Namespace,
    path: str,
    checkpoint: str,
    info: dict[str, Any],
    num_classes: int,
) -> 'AssignmentRow':
    from ..visualization.adapters import find_adapter
    from ..visualization.assignment import collect_assignment, dense_head
    from ..visualization.rows import AssignmentRow
    from ..visualization.samples import build_model, load_sample

    cfg = _load_config(args, path, num_classes)
    weights = None if checkpoint == '-' else checkpoint
    model = build_model(cfg, weights, args.seed).to(args.device)
    head: Any = dense_head(model)
    adapter = find_adapter(head)
    name = Path(path).stem
    if adapter.uses_predictions and weights is None:
        print(
            f'warning: {name} assigns by its predictions and is not trained; '
            'give its weights with --checkpoint',
            file=sys.stderr,
        )
    data = load_sample(cfg, info)
    result = collect_assignment(model, data)[0].cpu().numpy()
    sample = data['data_samples'][0]
    objects, ignored = sample.gt_instances, sample.ignored_instances
    parts = [type(head).__name__]
    assigner = getattr(head, 'assigner', None)
    # FreeAnchor has one that it never calls
    calls_it = not adapter.relies_on or 'get_targets' in adapter.relies_on
    if assigner is not None and calls_it:
        parts.append(type(assigner).__name__)
    if adapter.uses_predictions:
        parts.append(
            'by the predictions of '
            + (Path(weights).name if weights else 'an UNTRAINED network')
        )
    return AssignmentRow(
        title=name,
        subtitle=' · '.join(parts),
        image=data['inputs'][0].permute(1, 2, 0).numpy()[..., ::-1],
        boxes=objects.bboxes.tensor.numpy(),
        labels=objects.labels.numpy(),
        ignored_boxes=ignored.bboxes.tensor.numpy(),
        **{key: result.get(key) for key in result.keys()},
    )


def _load_config(
    args: argparse.Namespace, path: str, num_classes: int
) -> 'Config':
    from mmengine.config import Config

    from ..small_scale import (
        merge_mini,
        set_num_classes,
        shrink_model,
        shrink_pictures,
    )

    cfg = Config.fromfile(path)
    if args.mini:
        shrink_model(cfg.model)
        shrink_pictures(cfg)
        merge_mini(cfg)
    set_num_classes(cfg.model, num_classes)
    cfg.merge_from_dict(common.parse_cfg_options(args.cfg_options))
    return cfg
