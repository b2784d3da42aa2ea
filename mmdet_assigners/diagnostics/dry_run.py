"""A training in short: some steps, a prediction, its evaluation."""

import contextlib
import copy
import io
import logging
import math
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from ..analysis.detectors import evaluating, quiet, tensors_in
from ..engine.hooks.train_progress_hook import followers
from ..utils import type_name
from .problem import Problem

_BATCHES = 3


class Step(NamedTuple):
    """Result of dry training steps.

    Attributes:
        losses: Value of every loss key, of the first batch; of another batch
            if one isn't finite there.
        images: Number of images in all batches.
        seconds: Time of forward and backward of the first batch.
        unused: Parameters without a gradient; distributed training refuses
            them without ``find_unused_parameters=True``.
        not_finite: Parameters whose gradient is not finite.
        origin: The first module whose output is not finite, in the batch
            whose losses are not; empty if there is none.
        waiting: Classes of the modules that follow the progress of the
            training, if the config has no hook that tells them.
    """

    losses: dict[str, float]
    images: int
    seconds: float
    unused: list[str]
    not_finite: list[str]
    waiting: list[str]
    origin: str = ''

    @property
    def problems(self) -> list[Problem]:
        """What is not finite, modules that miss their hook."""
        look = 'look at the boxes: mim run mmdet browse_dataset'
        origin = (
            self.origin and f': {self.origin} returns the first such value'
        )
        found = [
            Problem(f'{key} is {value} on the training data{origin}', look)
            for key, value in self.losses.items()
            if not math.isfinite(value)
        ]
        if self.not_finite:
            found.append(
                Problem(
                    f'the gradients of {len(self.not_finite)} parameters '
                    f'(first {self.not_finite[0]}) are not finite',
                    look,
                )
            )
        if self.waiting:
            found.append(
                Problem(
                    f'{", ".join(self.waiting)} must follow the progress of '
                    'the training, but custom_hooks has no TrainProgressHook '
                    "(a child's custom_hooks replace its parent's)",
                    "add dict(type='mmdet_assigners.TrainProgressHook')",
                )
            )
        return found


def build_initialized(cfg: Config) -> nn.Module:
    """The model of a config, with the initial weights of a training."""
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model_cfg = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):  # as mmengine's Runner
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    torch.manual_seed(0)
    model = MODELS.build(model_cfg)
    with quiet():
        model.init_weights()
    return model


def dry_steps(cfg: Config, model: nn.Module) -> Step:
    """Forward and backward of some training batches, without an update."""
    model.train()
    losses: dict[str, float] = {}
    unused: dict[str, None] = {}
    not_finite: dict[str, None] = {}
    images, seconds, origin = 0, [], ''
    for batch in _batches(cfg.train_dataloader, _BATCHES):
        model.zero_grad()
        start = time.perf_counter()
        data = model.data_preprocessor(batch, training=True)
        with _recording_not_finite(model) as modules:
            total, log = model.parse_losses(model(**data, mode='loss'))
        total.backward()
        seconds.append(time.perf_counter() - start)
        images += len(data['data_samples'])
        values = {key: float(value.detach()) for key, value in log.items()}
        if not losses or not all(map(math.isfinite, values.values())):
            losses = values
            origin = next(iter(modules), '')
        trained = [
            (name, parameter)
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        ]
        for name, parameter in trained:
            if parameter.grad is None:
                unused[name] = None
            elif not torch.isfinite(parameter.grad).all():
                not_finite[name] = None
    model.zero_grad()
    waiting = [] if _has_progress_hook(cfg) else followers(model)
    return Step(
        losses,
        images,
        min(seconds),
        list(unused),
        list(not_finite),
        waiting,
        origin,
    )


@contextlib.contextmanager
def _recording_not_finite(model: nn.Module) -> Iterator[list[str]]:
    """Names of the modules whose outputs aren't finite, as they return."""
    names: list[str] = []

    def record(name: str, output: Any) -> None:
        if not all(one.isfinite().all() for one in tensors_in(output)):
            names.append(name)

    handles = [
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: record(name, output)
        )
        for name, module in model.named_modules()
        if name
    ]
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()


def dry_evaluation(cfg: Config, model: nn.Module) -> int | None:
    """Predict one validation batch and evaluate it.

    Returns:
        int: Number of the detections; None if the config doesn't validate.
    """
    if not cfg.get('val_dataloader'):
        return None
    with _silent(), evaluating(model), torch.no_grad():
        loader = _build_loader(cfg.val_dataloader)
        metrics = cfg.val_evaluator
        if isinstance(metrics, dict) and 'metrics' in metrics:
            metrics = metrics['metrics']
        evaluator = Evaluator(metrics)
        evaluator.dataset_meta = getattr(loader.dataset, 'metainfo', None)
        batch = next(iter(loader))
        results = model.val_step(batch)
        evaluator.process(data_samples=results, data_batch=batch)
        evaluator.evaluate(len(loader.dataset))
    return sum(len(result.pred_instances) for result in results)


def _build_loader(loader_cfg: Any) -> Any:
    loader = loader_cfg.to_dict()
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    with _silent():
        return Runner.build_dataloader(loader, seed=0)


def _batches(loader_cfg: Any, count: int) -> Iterator[Any]:
    return islice(_build_loader(loader_cfg), count)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence pycocotools, and mmengine, which calls no detection an error."""
    with contextlib.redirect_stdout(io.StringIO()), quiet(logging.CRITICAL):
        yield


def _has_progress_hook(cfg: Config) -> bool:
    return any(
        type_name(hook) == 'TrainProgressHook'
        for hook in cfg.get('custom_hooks') or []
    )
