"""``viz assign`` and ``viz uncertainty``."""

import argparse

from . import common, viz_assign, viz_uncertainty

_ANALYSES = {'assign': viz_assign, 'uncertainty': viz_uncertainty}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    text = 'images of label assignment and uncertainty'
    common.add_analyses(subparsers, 'viz', text, _ANALYSES)


def run(args: argparse.Namespace) -> int:
    """Draw the images."""
    return _ANALYSES[args.analysis].run(args)
