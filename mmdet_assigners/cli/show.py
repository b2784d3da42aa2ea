"""``show CONFIG``: a config as a diff against its mmdet base."""

import argparse
import ast
import inspect
from pathlib import Path
from typing import Any

from . import common

_SIGNS = {'added': '+', 'removed': '-', 'changed': '~'}
# top-level keys that something else than mmengine's Runner reads
_READ_BY_OTHERS = {'custom_imports', 'mini', 'tta_model', 'tta_pipeline'}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'show', help='what a config changes in its base', description=__doc__
    )
    parser.add_argument('config', help='name of our config, or a path')
    parser.add_argument(
        '--base', help='config to compare with; default: its mmdet base'
    )


def run(args: argparse.Namespace) -> int:
    """Print the changed, added and removed keys."""
    path = common.resolve_config(args.config)
    bases = [args.base] if args.base else mmdet_bases(Path(path))
    if not bases:
        common.fail(f'{path} has no mmdet:: base; name one with --base')
    from ..utils import register_all_modules

    register_all_modules()
    from mmengine.config import Config

    from ..config_diff import align, diff_dicts, flatten

    config = Config.fromfile(path)._cfg_dict.to_dict()
    old: dict[str, Any] = {}
    for base in bases:
        parent = Config.fromfile(common.resolve_config(base))
        old |= flatten(align(parent._cfg_dict.to_dict(), config))
    new = flatten(config)
    variables = _variables(config, old)
    for flat in (old, new):
        for key in list(flat):
            # mmengine's note on where a base came from
            scope = key.endswith('_scope_')
            if scope or key.partition('.')[0] in variables:
                del flat[key]
    changes = diff_dicts(old, new)
    print(f'{Path(path).stem}\n  on {", ".join(bases)}\n')
    for key, change in changes.items():
        text = {
            'added': f'{change.new!r}',
            'removed': f'{change.old!r}',
            'changed': f'{change.old!r} -> {change.new!r}',
        }[change.kind]
        print(f'{_SIGNS[change.kind]} {key}: {text}')
    count = {
        kind: sum(change.kind == kind for change in changes.values())
        for kind in ('changed', 'added', 'removed')
    }
    print('\n' + ', '.join(f'{n} {kind}' for kind, n in count.items()))
    return 0


def _variables(config: dict[str, Any], old: dict[str, Any]) -> set[str]:
    """New top-level keys that nothing reads: parts that config files share."""
    from mmengine.runner import Runner

    read = set(inspect.signature(Runner.__init__).parameters)
    inherited = {key.partition('.')[0] for key in old}
    return set(config) - read - _READ_BY_OTHERS - inherited


def mmdet_bases(path: Path) -> list[str]:
    """The first ``mmdet::`` bases on the way up from a config file."""
    found: list[str] = []
    for statement in ast.parse(path.read_text()).body:
        if (
            isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id == '_base_'
        ):
            bases = ast.literal_eval(statement.value)
            for base in [bases] if isinstance(bases, str) else bases:
                if base.startswith('mmdet::'):
                    found.append(base)
                elif '::' not in base:
                    found += mmdet_bases(path.parent / base)
                else:
                    found += mmdet_bases(Path(common.resolve_config(base)))
    return list(dict.fromkeys(found))
