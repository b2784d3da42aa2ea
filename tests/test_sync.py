"""Counts operators that synchronize with the device.

The count of each method stands in its metafile and only goes down.
"""

from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import BOXES, demo_batch, mini_model
from torch.utils._python_dispatch import TorchDispatchMode

from mmdet_assigners.catalog import read_catalog
from mmdet_assigners.utils import config_path

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


@pytest.mark.parametrize('method', read_catalog(), ids=lambda m: m.slug)
def test_loss_path_does_not_sync_more(method):
    count = count_syncs(Path(config_path(method.configs[0])))
    recorded = method.synchronizations
    assert recorded is not None, f'record Synchronizations: {count}'
    assert count <= recorded
