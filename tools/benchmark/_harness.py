"""Times ours against a named peer, by turns, in one process."""

import argparse
import gc
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault('KINETO_LOG_LEVEL', '9')  # the profiler is chatty

import torch

from mmdet_assigners.files import write_json
from mmdet_assigners.versions import measured_versions

_FULL_S = 20.0  # seconds per row
_MIN_PAIRS, _MAX_PAIRS = 3, 200
_LONG_S = 10.0  # one pair of so long runs is enough


@dataclass
class Case:
    """A row: the same work done by ours and by a peer.

    Args:
        name: What and how large, e.g. ``PConv train 800x1280 C=256``.
        peer_name: What it is compared with.
        ours: Does the work once.
        peer: Does it the other way.
        least_bytes: What has to be read and written at least; adds the
            bandwidth that the time would mean.
        graph: Also time replays of CUDA graphs of both, in which the host has
            no part; the bandwidth is then theirs.
    """

    name: str
    peer_name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    least_bytes: int | None = None
    graph: bool = False


def _seconds(work: Callable[[], Any]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_mib(work: Callable[[], Any]) -> float:
    """Most memory that torch held at once during the work, in MiB.

    Beyond what was held before. CUDA if there is any, else the CPU
    allocator, whose events the profiler records.
    """
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    held = peak = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted(events, key=lambda e: e.start_ns()):
        if event.name() == '[memory]':
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 2**20


def _captured(work: Callable[[], Any]) -> Callable[[], None]:
    """The kernels that a call launches, without the call."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _by_turns(
    ours: Callable[[], Any], peer: Callable[[], Any], budget: float
) -> dict[str, Any]:
    """Times of both, run by turns for about ``budget`` seconds."""
    warm = max(ours, peer, key=_seconds)
    once = _seconds(warm)
    pairs = int(budget / (2 * once)) if once else _MAX_PAIRS
    least = 1 if once > _LONG_S else _MIN_PAIRS
    pairs = min(max(pairs, least), _MAX_PAIRS)
    our_times, peer_times = [], []
    gc.collect()
    gc.disable()
    try:
        for turn in range(pairs):
            both = [(our_times, ours), (peer_times, peer)]
            for times, work in both if turn % 2 else both[::-1]:
                times.append(_seconds(work))
    finally:
        gc.enable()
    ratios = [p / o for o, p in zip(our_times, peer_times, strict=True)]
    return dict(
        ours_s=statistics.median(our_times),
        peer_s=statistics.median(peer_times),
        ratio=statistics.median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        pairs=pairs,
    )


def measure(case: Case, budget: float) -> dict[str, Any]:
    """Run both by turns for about ``budget`` seconds, after a warm-up.

    Returns:
        The row: medians in seconds, median and spread of the ratios of
        neighboring runs (peer / ours, more than 1 is faster), memory;
        'device' has the same for CUDA graphs.
    """
    row = dict(
        name=case.name,
        peer=case.peer_name,
        **_by_turns(case.ours, case.peer, budget),
        ours_mib=peak_mib(case.ours),
        peer_mib=peak_mib(case.peer),
    )
    times = row
    if case.graph:
        ours, peer = _captured(case.ours), _captured(case.peer)
        times = row['device'] = _by_turns(ours, peer, budget)
    if case.least_bytes is not None:
        row['least_bytes'] = case.least_bytes
        for who in ('ours', 'peer'):
            row[f'{who}_gb_s'] = case.least_bytes / times[f'{who}_s'] / 1e9
    return row


def _machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return dict(
        system=f'{platform.system()} {platform.machine()}',
        cpus=os.cpu_count(),
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if cuda else 'cpu',
    )


def main(
    cases: Callable[[bool], Iterable[Case]],
    description: str,
    quick_s: float = 2.0,
) -> None:
    """The command line of a benchmark.

    Args:
        cases: Gives the rows; its argument is ``--quick``.
        description: First line of ``--help``.
        quick_s: Seconds per row with ``--quick``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        '--quick', action='store_true', help='small sizes, under 50 seconds'
    )
    parser.add_argument(
        '--seconds', type=float, help='about this long per row'
    )
    parser.add_argument('--json', type=Path, help='write the rows here')
    args = parser.parse_args()
    budget = args.seconds or (quick_s if args.quick else _FULL_S)
    rows = []
    print('peer / ours (spread) | ours | peer | memory ours, peer | row')
    for case in cases(args.quick):
        row = measure(case, budget)
        rows.append(row)
        print(
            '{ratio:.2f} ({ratio_min:.2f}-{ratio_max:.2f}) | {ours_s:.4f} s '
            '| {peer_s:.4f} s | {ours_mib:.0f}, {peer_mib:.0f} MiB '
            '| {name} against {peer}'.format(**row),
            flush=True,
        )
        if 'device' in row:
            print(
                '    {ratio:.2f} ({ratio_min:.2f}-{ratio_max:.2f}) | '
                '{ours_s:.5f} s | {peer_s:.5f} s without the host'.format(
                    **row['device']
                ),
                flush=True,
            )
        if 'least_bytes' in row:
            print(
                '    {ours_gb_s:.3g}, {peer_gb_s:.3g} GB/s of the least '
                '{least_bytes:.3g} bytes'.format(**row),
                flush=True,
            )
        if args.json:  # after every row: a long run may be stopped
            content = dict(
                rows=rows,
                versions=measured_versions(),
                machine=_machine(),
                command=shlex.join(['python', *sys.argv]),
            )
            write_json(args.json, content)
