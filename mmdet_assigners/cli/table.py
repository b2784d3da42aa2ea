"""``table assign``, ``table recall``, ``table show`` and others."""

import argparse

from . import (
    common,
    table_assign,
    table_recall,
    table_show,
    table_uncertainty,
)

_ANALYSES = {
    'assign': table_assign,
    'recall': table_recall,
    'show': table_show,
    'uncertainty': table_uncertainty,
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    text = 'label assignment and uncertainty in numbers'
    common.add_analyses(subparsers, 'table', text, _ANALYSES)


def run(args: argparse.Namespace) -> int:
    """Print or write the table."""
    return _ANALYSES[args.analysis].run(args)
