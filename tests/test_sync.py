"""Counts operators that make the host wait for the device.

The counts per method are in ``sync_counts.json`` and only go down.
"""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import BOXES, demo_batch, main_configs, mini_model
from torch.utils._python_dispatch import TorchDispatchMode

RECORD = Path(__file__).with_name('sync_counts.json')
SYNC = {
    'aten._local_scalar_dense.default',
    'aten.nonzero.default',
    'aten.masked_select.default',
    'aten.equal.default',
    'aten.unique_dim.default',
    'aten._unique2.default',
}


class SyncCounter(TorchDispatchMode):
    """Counts synchronizing operators, boolean indexing included."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        if name in SYNC:
            self.count[name] += 1
        if name in ('aten.index.Tensor', 'aten.index_put_.default'):
            masks = [i for i in args[1] if i is not None]
            if any(i.dtype == torch.bool for i in masks):
                self.count[name] += 1
        return func(*args, **(kwargs or {}))


def count_syncs(path):
    """Synchronizing operators of one forward pass to the losses."""
    model = mini_model(path).train()
    data = model.data_preprocessor(demo_batch([BOXES, BOXES[:2]]), True)
    with SyncCounter() as counter:
        model(**data, mode='loss')
    return sum(counter.count.values())


def test_counter_counts():
    x = torch.arange(4.0)
    with SyncCounter() as counter:
        x.sum().item()
        x[x > 1]
        x.masked_fill(x > 1, 0)
    assert counter.count['aten._local_scalar_dense.default'] == 1
    assert sum(counter.count.values()) >= 2


@pytest.mark.parametrize('path', main_configs(), ids=lambda p: p.stem)
def test_loss_path_does_not_sync_more(path):
    recorded = json.loads(RECORD.read_text())
    assert path.stem in recorded, (
        f'record {count_syncs(path)} in {RECORD.name}'
    )
    assert count_syncs(path) <= recorded[path.stem]
