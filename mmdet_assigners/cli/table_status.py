"""``table status``: how far the rows of a method's tables are."""

import argparse
from collections import Counter

from ..tables import markdown
from .table_run import add_table_arguments, jobs_of

HELP = 'which rows are done, running, failed or missing'
DESCRIPTION = (
    'Says how far each row is that `table run` with the same arguments runs, '
    'on this machine or on a cluster that shares the folder.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_table_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each row and seed."""
    from ..reproduction.jobs import state_of

    states = [
        (row.config, job.seed, state_of(job, row))
        for job in jobs_of(args)
        for row in job.rows
    ]
    lines = [
        (
            name,
            str(seed),
            state.state,
            '' if state.state == 'failed' else state.detail,
        )
        for name, seed, state in states
    ]
    print(markdown(('config', 'seed', 'state', ''), lines))
    for name, seed, state in states:
        if state.state == 'failed':
            print(f'\n{name}, seed {seed}:\n{state.detail}')
    count = Counter(state.state for _, _, state in states)
    print('\n' + ', '.join(f'{n} {state}' for state, n in count.items()))
    return 0
