"""``table assign``, ``table recall``, ``table run`` and others."""

import argparse

from . import (
    common,
    table_assign,
    table_recall,
    table_run,
    table_show,
    table_status,
    table_uncertainty,
)

_ANALYSES = {
    'assign': table_assign,
    'recall': table_recall,
    'uncertainty': table_uncertainty,
    'run': table_run,
    'status': table_status,
    'show': table_show,
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    text = 'assignment and uncertainty in numbers; tables of papers'
    common.add_analyses(subparsers, 'table', text, _ANALYSES)


def run(args: argparse.Namespace) -> int:
    """Print or write the table."""
    return _ANALYSES[args.analysis].run(args)
