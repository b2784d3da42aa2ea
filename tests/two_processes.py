"""Gradients of one process and of two gloo processes.

A module of its own, because each process imports it by name.
"""

import os

import torch
import torch.distributed as dist
from helpers import BOXES, demo_batch, exception, losses_of, mini_model
from helpers import total_loss as total
from mmdet.models.task_modules.samplers import RandomSampler
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# Both images have the same boxes: mmdet's RetinaNet normalizes by the
# positives of its own process, so that other boxes would weigh differently.
PER_IMAGE = [BOXES, BOXES]


def _prepared(path):
    model = mini_model(path)
    model.train()
    changes = exception(path, 'BY_IMAGE', [])
    for name, option, value in (
        changes if isinstance(changes, list) else [changes]
    ):
        setattr(model.get_submodule(name), option, value)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # statistics are per process by definition
        if isinstance(getattr(module, 'dropout', None), float):
            module.dropout = 0.0  # random
    for sampler in _samplers(model):
        # not random, and as many of each image
        sampler.num = min(sampler.num, 64)
        sampler.random_choice = lambda gallery, num: gallery[:num]
    return model


def _samplers(model):
    """Random samplers of the two stages of a detector."""
    for head in ('rpn_head', 'roi_head'):
        head = getattr(model, head, None)
        for name in ('sampler', 'bbox_sampler'):
            sampler = getattr(head, name, None)
            sampler = sampler if isinstance(sampler, list) else [sampler]
            yield from (s for s in sampler if isinstance(s, RandomSampler))


def _gradients(model):
    return {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def worker(rank, port, paths, out):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    dist.init_process_group('gloo', rank=rank, world_size=2)
    torch.set_num_threads(1)
    import mmdet_assigners  # noqa: F401

    for path in paths:
        gradients = _joint_gradients(rank, path)
        if rank == 0:
            torch.save(gradients, out / f'{path.stem}.pth')
    dist.destroy_process_group()


def _joint_gradients(rank, path):
    model = _prepared(path)
    wrapped = DistributedDataParallel(model)

    def step(boxes):
        mine = {key: [value[rank]] for key, value in demo_batch(boxes).items()}
        wrapped.zero_grad()
        data = model.data_preprocessor(mine, True)
        total(wrapped(**data, mode='loss')).backward()
        return {k: v.clone() for k, v in _gradients(model).items()}

    # a parameter that a pass leaves out raises in the next one
    step(PER_IMAGE)
    gradients = step(PER_IMAGE)
    for _ in range(2):  # one process without objects
        found = step([BOXES, []])
        assert all(gradient.isfinite().all() for gradient in found.values())
    return gradients


def problems(path, found):
    """Names of the parameters whose gradients differ."""
    model = _prepared(path)
    total(losses_of(model, demo_batch(PER_IMAGE))).backward()
    expected = _gradients(model)
    factor = 1.0
    if exception(path, 'UP_TO_A_FACTOR'):
        factor = _norm(expected) / _norm(found)
    return sorted(found.keys() ^ expected.keys()) + [
        name
        for name, gradient in expected.items()
        if not torch.allclose(
            factor * found.get(name, gradient),
            gradient,
            rtol=1e-3,
            atol=1e-5 + 1e-3 * float(gradient.abs().max()),
        )
    ]


def _norm(gradients):
    return torch.cat([g.flatten() for g in gradients.values()]).norm()
