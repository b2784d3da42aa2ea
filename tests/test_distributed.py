"""Two gloo processes give the gradients of one with the joined batch."""

import socket

import torch
import torch.multiprocessing as mp
from helpers import main_configs
from two_processes import problems, worker


def test_two_processes_equal_one(tmp_path):
    """Every main config, in one pair of processes: starting it is slow."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (port, main_configs(), tmp_path), nprocs=2)
    found = {
        path.stem: problems(path, torch.load(tmp_path / f'{path.stem}.pth'))
        for path in main_configs()
    }
    assert len(found) > 1
    assert not {stem: names[:2] for stem, names in found.items() if names}
