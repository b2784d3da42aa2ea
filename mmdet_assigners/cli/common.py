"""What several commands share: configs by name, overlays, user errors."""

import argparse
import csv
import difflib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mmengine.config import Config


def fail(message: str) -> NoReturn:
    """End the command with one clear line and exit code 1."""
    print(f'mmdet-assigners: {message}', file=sys.stderr)
    raise SystemExit(1)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that name configs and a dataset."""
    parser.add_argument(
        'config',
        nargs='+',
        metavar='CONFIG',
        help='names of our configs, mmdet::name, or paths',
    )
    parser.add_argument(
        '--data',
        metavar='NAME|ROOT',
        help='shapes (default), bccd, coco128 or the root of a COCO-format '
        'dataset',
    )
    parser.add_argument('--split', choices=('train', 'val'), default='val')


def csv_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as comma-separated values."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator='\n').writerows([header, *rows])
    return buffer.getvalue().rstrip('\n')


def resolve_config(name: str) -> str:
    """Where a config is: a path, ``mmdet::name`` or a name of ours.

    Ends the command, naming the nearest configs, if there is none.
    """
    from ..utils import config_path

    if Path(name).is_file():
        return name
    try:
        if name.startswith('mmdet::'):
            return _mmdet_config_path(name)
        return config_path(name)
    except FileNotFoundError as error:
        fail(str(error))


def _mmdet_config_path(name: str) -> str:
    import mmdet

    root = Path(mmdet.__file__).parent / '.mim' / 'configs'
    wanted = name.removeprefix('mmdet::').removesuffix('.py') + '.py'
    if (root / wanted).is_file():
        return str(root / wanted)
    known = [str(path.relative_to(root)) for path in root.glob('*/*.py')]
    near = difflib.get_close_matches(wanted, known, n=3)
    hint = f'; did you mean {" or ".join(near)}?' if near else ''
    raise FileNotFoundError(f'mmdet has no config {name!r}{hint}')


def add_config_arguments(
    parser: argparse.ArgumentParser, optional: bool = False
) -> None:
    """Arguments of every command that loads a config to run it."""
    parser.add_argument(
        'config',
        nargs='?' if optional else None,
        help='name of our config, mmdet::name, or a path',
    )
    parser.add_argument(
        '--mini',
        action='store_true',
        help='shrink model, images and schedule for a CPU',
    )
    parser.add_argument(
        '--data',
        metavar='NAME|ROOT',
        help='shapes, bccd, coco128 or the root of a COCO-format dataset '
        '(with --mini: shapes; otherwise: what the config says)',
    )
    parser.add_argument(
        '--eval-on',
        choices=('train', 'val'),
        default='val',
        help='split of --data that is evaluated',
    )
    parser.add_argument('--epochs', type=int, help='length of the schedule')
    parser.add_argument('--batch-size', type=int, help='images per step')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='changes merged last, as in mmdet',
    )


def parse_cfg_options(options: list[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` the way mmengine's ``DictAction`` does."""
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(prog='--cfg-options')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    for option in options:
        if '=' not in option:
            fail(f'--cfg-options {option!r}: expected KEY=VALUE')
    if not options:
        return {}
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def load_config(args: argparse.Namespace) -> 'Config':
    """Load the config that the arguments describe, overlays applied."""
    from ..utils import register_all_modules

    path = resolve_config(args.config)
    register_all_modules()
    from mmengine.config import Config

    from ..small_scale import apply_small_scale, set_epochs, use_data

    cfg = Config.fromfile(path)
    for key in ('epochs', 'batch_size'):
        value = getattr(args, key)
        if value is not None and value < 1:
            fail(f'--{key.replace("_", "-")} {value}: expected at least 1')
    try:
        if args.mini:
            apply_small_scale(
                cfg,
                args.data or 'shapes',
                eval_on=args.eval_on,
                epochs=args.epochs or 4,
                batch_size=args.batch_size or 4,
            )
        else:
            if args.data:
                use_data(cfg, args.data, args.eval_on)
            if args.epochs:
                set_epochs(cfg, args.epochs)
            if args.batch_size:
                cfg.train_dataloader.batch_size = args.batch_size
    except (FileNotFoundError, ValueError) as error:
        fail(str(error))
    cfg.merge_from_dict(parse_cfg_options(args.cfg_options))
    return cfg


def run_name(args: argparse.Namespace) -> str:
    """Name of the default work folder of a run."""
    parts = [Path(args.config).stem]
    parts += ['mini'] if args.mini else []
    data = args.data or ('shapes' if args.mini else None)
    parts += [Path(data).name] if data else []
    return '_'.join(parts)


def check_files(cfg: 'Config') -> None:
    """End the command if a file or folder that the config names is missing."""
    for key in ('train_dataloader', 'val_dataloader'):
        for node in _dataset_dicts(cfg.get(key)):
            root = Path(node.get('data_root') or '')
            ann_file = root / node['ann_file']
            if not ann_file.is_file():
                fail(
                    f'{key}: there is no {ann_file}; put the dataset there, '
                    'or name another one with --data'
                )
            img_dir = root / node.get('data_prefix', {}).get('img', '')
            if not img_dir.is_dir():
                fail(f'{key}: there is no image folder {img_dir}')


def _dataset_dicts(node: Any) -> list[dict]:
    if isinstance(node, dict):
        own = [node] if node.get('ann_file') else []
        return own + [d for v in node.values() for d in _dataset_dicts(v)]
    if isinstance(node, list | tuple):
        return [d for value in node for d in _dataset_dicts(value)]
    return []
