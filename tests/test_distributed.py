"""Two gloo processes give the gradients of one with the joined batch."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers import BOXES, demo_batch, losses_of, main_configs, mini_model
from helpers import total_loss as total
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# Both pictures have the same boxes: mmdet's RetinaNet normalises by the
# positives of its own process, so that other boxes would weigh differently.
PER_IMAGE = [BOXES, BOXES]


def _prepared(path):
    model = mini_model(path)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # statistics are per process by definition
    return model


def _gradients(model):
    return {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def _worker(rank, port, path, out):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    dist.init_process_group('gloo', rank=rank, world_size=2)
    torch.set_num_threads(1)
    import mmdet_assigners  # noqa: F401

    model = _prepared(path)
    batch = demo_batch(PER_IMAGE)
    mine = {key: [value[rank]] for key, value in batch.items()}
    wrapped = DistributedDataParallel(model)
    data = model.data_preprocessor(mine, True)
    for _ in range(2):  # a parameter that the first pass left out raises
        wrapped.zero_grad()
        total(wrapped(**data, mode='loss')).backward()
    if rank == 0:
        torch.save(_gradients(model), out)
    dist.destroy_process_group()


@pytest.mark.parametrize('path', main_configs(), ids=lambda p: p.stem)
def test_two_processes_equal_one(path, tmp_path):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    out = tmp_path / 'gradients.pth'
    mp.spawn(_worker, (port, str(path), out), nprocs=2)
    found = torch.load(out)
    model = _prepared(path)
    total(losses_of(model, demo_batch(PER_IMAGE))).backward()
    expected = _gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            found[name],
            gradient,
            rtol=1e-3,
            atol=1e-5 + 1e-3 * scale,
            msg=name,
        )
