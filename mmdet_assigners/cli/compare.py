"""``compare WORK_DIR...``: any trainings next to each other, in one page.

Curves, metrics, classes and differences of the configs; with ``--images`` also
detections, with ``--errors`` types of errors. Takes the work folder of any
training with mmengine's Runner.
"""

import argparse
import base64
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import common, inputs

DEFAULT_OUT = 'compare.html'

if TYPE_CHECKING:
    from ..visualization.results_page import Block


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'compare', help='your trainings in one page', description=__doc__
    )
    parser.add_argument(
        'work_dirs', nargs='+', metavar='WORK_DIR', help='of trainings'
    )
    parser.add_argument(
        '--metric', help='e.g. coco/segm_mAP (default: coco/bbox_mAP)'
    )
    parser.add_argument(
        '--images',
        type=int,
        default=0,
        metavar='N',
        help='draw the detections of the last checkpoints in N images',
    )
    parser.add_argument(
        '--errors',
        action='store_true',
        help='types of errors of the last checkpoints in all images of the '
        'evaluation (extra [tide])',
    )
    parser.add_argument(
        '--device', default='cpu', help='of --images and --errors'
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help=f'the page (default: {DEFAULT_OUT}, which must not exist yet)',
    )


@common.user_errors()
def run(args: argparse.Namespace) -> int:
    """Write the page, and print its table."""
    from ..reproduction.comparison import config_differences
    from ..reproduction.formats import to_markdown
    from ..reproduction.labels import by_folder
    from ..reproduction.logs import read_config
    from ..reproduction.report import run_sections
    from ..reproduction.results import collect
    from ..visualization.results_page import Block, plain_table, results_page
    from .table_show import catalog_rows

    if args.images < 0:
        raise ValueError(f'--images {args.images}: expected 0 or more')
    inputs.check_out(args.out)
    if args.out is None and Path(DEFAULT_OUT).exists():
        raise FileExistsError(
            f'{DEFAULT_OUT} exists: expected another name with --out FILE, or '
            f'--out {DEFAULT_OUT} to replace it'
        )
    out = args.out or DEFAULT_OUT
    different: dict[Path, str] = {}
    for folder in args.work_dirs:
        different.setdefault(Path(folder).resolve(), folder)
    results = [collect(folder) for folder in different.values()]
    runs = by_folder(results)
    folders = {name: one.work_dir for name, (one,) in runs.items()}
    sections = run_sections(runs, catalog_rows(), args.metric)
    blocks = []
    if args.images:
        blocks.append(Block('Detections', _detections(folders, args)))
    if args.errors:
        blocks.append(_errors(folders, args.device))
    differences = config_differences(
        {name: read_config(Path(folder)) for name, folder in folders.items()}
    )
    if differences:
        table = plain_table(
            ('key', *folders),
            [(key, *by.values()) for key, by in differences.items()],
            'Differences of the configs',
        )
        blocks.append(Block('Differences of the configs', table))
    title = f'Comparison of {", ".join(folders)}'
    page = results_page(title, sections, blocks, expanded=True)
    inputs.write_out(out, page)
    print(to_markdown(sections))
    print(f'\nwrote {out}')
    return 0


def _detections(folders: dict[str, str], args: argparse.Namespace) -> str:
    from ..reproduction.comparison import draw_detections

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'detections.png'
        draw_detections(folders, args.images, path, args.device)
        image = base64.b64encode(path.read_bytes()).decode()
    return (
        '<img alt="Ground truth, and detections of each training" '
        f'src="data:image/png;base64,{image}">'
    )


def _errors(folders: dict[str, str], device: str) -> 'Block':
    from ..reproduction.comparison import count_errors
    from ..visualization.results_page import Block, plain_table

    errors = count_errors(folders, device)
    header = ('', *next(iter(errors.values())))
    rows = [
        (name, *(f'{value:.1f}' for value in by_type.values()))
        for name, by_type in errors.items()
    ]
    title = 'Points of AP50 that each type of error costs'
    return Block(title, plain_table(header, rows, title))
