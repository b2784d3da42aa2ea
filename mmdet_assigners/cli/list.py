"""``list``: methods with their categories, paper, status and configs.

A name that fits one method also lists its configs: what each is, its
baseline, and the numbers that others published.
"""

import argparse
import fnmatch
import sys

from ..catalog import (
    CATEGORIES,
    STATUSES,
    MetafileError,
    Method,
    Model,
    closest,
    read_catalog,
)

_HEADER = ('METHOD', 'CATEGORIES', 'STATUS', 'CONFIGS', 'PAPER')
_CONFIG_HEADER = ('CONFIG', 'WHAT', 'PUBLISHED', 'BASELINE')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'list',
        help='methods, their papers, status and configs',
        description=__doc__,
    )
    parser.add_argument(
        'name',
        nargs='?',
        help='method, class or config, or a pattern such as "sepc*"',
    )
    parser.add_argument(
        '--kind',
        metavar='CATEGORY',
        help=f'one of {", ".join(CATEGORIES)}',
    )
    parser.add_argument('--status', help=f'one of {", ".join(STATUSES)}')
    parser.add_argument(
        '--paper', metavar='TEXT', help='words of the title, or of the URL'
    )
    parser.add_argument(
        '--configs', action='store_true', help='list the configs by name'
    )


def _matches(method: Method, pattern: str) -> bool:
    names = (method.slug, method.name, *method.classes, *method.configs)
    return any(
        fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names
    )


def _error(message: str) -> int:
    print(f'mmdet-assigners list: {message}', file=sys.stderr)
    return 2


def _aligned(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ['  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return '\n'.join(lines)


def _method_row(method: Method) -> tuple[str, ...]:
    count = str(len(method.models))
    names = ', '.join(method.categories)
    return method.slug, names, method.status, count, method.paper.title


def _config_row(model: Model) -> tuple[str, ...]:
    baseline = (model.metadata or {}).get('Baseline', '-')
    numbers = [
        f'{one.metric} {one.value:g} ({one.dataset}; {one.source})'
        for one in model.published
    ]
    what = model.description or '-'
    return model.name, what, '; '.join(numbers) or '-', baseline


def run(args: argparse.Namespace) -> int:
    """Print the methods that pass every filter.

    Returns:
        0; 1 if a metafile can't be read; 2 if a filter is misspelled or
        nothing passes all of them.
    """
    for option, known in (('kind', CATEGORIES), ('status', tuple(STATUSES))):
        value = getattr(args, option)
        if value is not None and value not in known:
            return _error(f'--{option} {value!r}: {closest(value, known)}')
    try:
        methods = read_catalog()
    except (FileNotFoundError, MetafileError) as error:
        print(f'mmdet-assigners list: {error}', file=sys.stderr)
        return 1
    if args.name and not any(_matches(m, args.name) for m in methods):
        slugs = [method.slug for method in methods]
        names = [n for m in methods for n in (*m.classes, *m.configs)]
        hint = closest(args.name, [*slugs, *names])
        if not hint.startswith('did you mean'):
            hint = closest(args.name, slugs)
        return _error(f'no method {args.name!r}; {hint}')
    found = [
        method
        for method in methods
        if (not args.name or _matches(method, args.name))
        and (not args.kind or args.kind in method.categories)
        and (not args.status or args.status == method.status)
        and (
            not args.paper
            or args.paper.lower()
            in f'{method.paper.title} {method.paper.url}'.lower()
        )
    ]
    if methods and not found:
        return _error('no method passes all filters')
    if args.configs:
        print('\n'.join(name for method in found for name in method.configs))
        return 0
    print(_aligned([_HEADER, *map(_method_row, found)]))
    if args.name and len(found) == 1:
        configs = map(_config_row, found[0].models)
        print('\n' + _aligned([_CONFIG_HEADER, *configs]))
        if tables := ', '.join(table.id for table in found[0].tables):
            print(f'\ntables, for `table run {found[0].slug}/TABLE`: {tables}')
    return 0
