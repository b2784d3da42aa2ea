"""Options and shared fixtures."""

import contextlib
import functools
import sys
from collections import Counter
from pathlib import Path

import mmengine.config.utils
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from golden_runner import load_adapters, read_cases

import mmdet_assigners  # noqa: F401 registers what configs name

with contextlib.suppress(ImportError):
    import submitit  # noqa: F401 closes all log files, so before any is open

HERE = Path(__file__).parent
torch.set_num_threads(1)  # pytest-xdist already uses every core
# to resolve `mmdet::`, mmengine reads a hundred YAML files for every config
mmengine.config.utils.load = functools.lru_cache(mmengine.config.utils.load)


def pytest_addoption(parser):
    group = parser.getgroup('golden')
    group.addoption(
        '--golden-root',
        default=str(HERE / 'methods'),
        help='folder with manifest.json and npz files at any depth',
    )
    group.addoption(
        '--golden-strict',
        action='store_true',
        help='an op without an adapter fails instead of being skipped',
    )
    parser.addoption(
        '--overfit-results',
        help='folder for the results of test_overfit.py, a JSON file each',
    )


@pytest.fixture
def golden_strict(request):
    return request.config.getoption('--golden-strict')


def pytest_generate_tests(metafunc):
    if 'golden_entry' in metafunc.fixturenames:
        root = Path(metafunc.config.getoption('--golden-root'))
        if not root.is_dir():
            raise pytest.UsageError(f'--golden-root {root} is not a folder')
        cases = read_cases([root])
        if not cases:
            raise pytest.UsageError(f'no manifest.json under {root}')
        ids = [f'{method}/{entry["case"]}' for _, entry, method in cases]
        metafunc.parametrize('golden_entry', cases, ids=ids)


def _golden_summary(reporter, config):
    """The line on the golden cases, after one line per unknown op."""
    reports = [
        (outcome, report)
        for outcome in ('passed', 'failed', 'skipped', 'error')
        for report in reporter.stats.get(outcome, [])
        if 'test_golden.py' in report.nodeid
        and (report.when == 'call' or outcome in ('skipped', 'error'))
    ]
    if not reports:
        return []
    root = Path(config.getoption('--golden-root'))
    cases = Counter(entry['op'] for _, entry, _ in read_cases([root]))
    unknown = sorted(set(cases) - set(load_adapters()))
    count = Counter(outcome for outcome, _ in reports)
    without = sum(cases[op] for op in unknown)
    failed = count['failed'] + count['error']
    if config.getoption('--golden-strict'):
        failed -= without
    return [
        *(f'golden: no adapter for {op}' for op in unknown),
        f'golden: {len(cases)} ops, {count["passed"]} cases passed, '
        f'{failed} failed, {without} without adapter',
    ]


def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    if reporter is None or hasattr(config, 'workerinput'):
        return
    for line in _golden_summary(reporter, config):
        reporter.write_line(line)
