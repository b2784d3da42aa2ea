"""Search: weights and logits in turn, on two halves of the data."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import DATASETS, LOOPS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.model import is_model_wrapper
from mmengine.optim import (
    DefaultOptimWrapperConstructor,
    OptimWrapper,
    OptimWrapperDict,
)
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import Dataset

PREFIX = 'arch_'


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without a wrapper such as DDP's."""
    return model.module if is_model_wrapper(model) else model


def arch_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The logits of a model: parameters whose name begins with ``arch_``."""
    return {
        name: parameter
        for name, parameter in unwrapped(model).named_parameters()
        if name.rpartition('.')[2].startswith(PREFIX)
    }


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ArchOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimizer for the weights and another for the logits.

    Logits are the parameters whose name begins with ``arch_``.

    Args:
        optim_wrapper_cfg: Config of the weights' wrapper. Its key ``arch`` is
            the config of the logits'; its ``type`` is the same by default.
        paramwise_cfg: Of the weights.

    Raises:
        ValueError: There is no ``arch``; when called, a model without logits.
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        weights = copy.deepcopy(optim_wrapper_cfg)
        arch = weights.pop('arch', None)
        if not arch or 'optimizer' not in arch:
            raise ValueError(
                'optim_wrapper.arch must be dict(optimizer=...), the '
                f'optimizer of the logits, got {arch}'
            )
        self.arch_cfg = arch
        super().__init__(weights, paramwise_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build both: ``weights`` and ``arch``."""
        logits = list(arch_parameters(model).values())
        if not logits:
            raise ValueError(
                f'{type(unwrapped(model)).__name__} has no parameters named '
                f'{PREFIX}*: ArchOptimWrapperConstructor needs a model such '
                'as SearchFasterRCNN'
            )
        weights: OptimWrapper = super().__call__(model)
        known = set(map(id, logits))
        for group in weights.optimizer.param_groups:
            group['params'] = [
                p for p in group['params'] if id(p) not in known
            ]
        cfg = dict(self.arch_cfg)
        cfg.setdefault('type', type(weights).__name__)
        optimizer = OPTIMIZERS.build(dict(cfg['optimizer'], params=logits))
        arch = OPTIM_WRAPPERS.build(dict(cfg, optimizer=optimizer))
        return OptimWrapperDict(weights=weights, arch=arch)


def bilevel_step(
    model: nn.Module,
    optimizers: OptimWrapperDict,
    batch: Any,
    arch_batch: Any = None,
) -> dict[str, Any]:
    """Update the weights on one batch, then the logits on another.

    First order: the weights are constant in the second step. A backward pass
    fills the gradients of both, so both are zeroed before each.

    Args:
        model: Its ``arch_step`` is True while the loss of the logits is
            computed.
        optimizers: ``weights`` and ``arch``.
        batch: Of the half for the weights.
        arch_batch: Of the half for the logits; None leaves them as they are.

    Returns:
        dict: Values to log; those of the second step begin with ``arch_``.
    """
    optimizers.zero_grad()
    logs = dict(model.train_step(batch, optim_wrapper=optimizers['weights']))
    if arch_batch is not None:
        optimizers.zero_grad()
        inner = unwrapped(model)
        inner.arch_step = True
        try:
            found = model.train_step(
                arch_batch, optim_wrapper=optimizers['arch']
            )
        finally:
            inner.arch_step = False
        logs |= {f'{PREFIX}{name}': value for name, value in found.items()}
    optimizers.zero_grad()
    return logs


@DATASETS.register_module()
class HalfDataset(Dataset):
    """One of two disjoint halves of a dataset, by image.

    An image that occurs several times, as under ``RepeatDataset``, is in one
    half alone.

    Args:
        dataset: The dataset, or its config.
        half: 0 or 1.
        seed: Of the split.

    Raises:
        ValueError: Another half, or a dataset of a single image.
    """

    def __init__(self, dataset: Any, half: int, seed: int = 0) -> None:
        if half not in (0, 1):
            raise ValueError(f'half must be 0 or 1, got {half}')
        self.dataset = (
            DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        )
        self.metainfo = self.dataset.metainfo
        images = [
            self.dataset.get_data_info(i)['img_path']
            for i in range(len(self.dataset))
        ]
        unique = sorted(set(images))
        if len(unique) < 2:
            raise ValueError(
                'a search needs at least 2 images with objects, got '
                f'{len(unique)}'
            )
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(unique), generator=generator).tolist()
        first = {unique[i] for i in order[: len(unique) // 2]}
        self.indices = [
            i
            for i, image in enumerate(images)
            if (image in first) == (half == 0)
        ]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Annotation of a sample, for batch samplers."""
        return self.dataset.get_data_info(self.indices[index])


@LOOPS.register_module()
class BilevelSearchLoop(EpochBasedTrainLoop):
    """Trains weights on one half of the data and logits on the other.

    Each iteration is a `bilevel_step`. The runner's optimizers are those of
    `ArchOptimWrapperConstructor`.

    Args:
        runner: The runner.
        dataloader: Config of the training data, which is split in two.
        max_epochs: Epochs; one is a pass over the weights' half.
        arch_begin: Part of the epochs in which the logits stay, in [0, 1).
            One third by default, our choice.
        split_seed: Of the split.
        **kwargs: Further arguments of ``EpochBasedTrainLoop``.

    Raises:
        TypeError: A built dataloader, which cannot be split; when run, a
            single optimizer.
        ValueError: ``arch_begin`` out of range.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        max_epochs: int,
        arch_begin: float = 1 / 3,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(dataloader, dict):
            raise TypeError(
                'train_dataloader must be a config, which BilevelSearchLoop '
                f'splits, got {type(dataloader).__name__}'
            )
        if not 0 <= arch_begin < 1:
            raise ValueError(
                f'train_cfg.arch_begin must be in [0, 1), got {arch_begin}'
            )
        halves = []
        for half in (0, 1):
            loader = copy.deepcopy(dataloader)
            loader['dataset'] = dict(
                type='HalfDataset',
                dataset=loader['dataset'],
                half=half,
                seed=split_seed,
            )
            halves.append(loader)
        super().__init__(runner, halves[0], max_epochs, **kwargs)
        self.arch_dataloader = runner.build_dataloader(
            halves[1], seed=runner.seed
        )
        self.arch_begin = math.ceil(arch_begin * max_epochs)
        self._arch_batches: Iterator[Any] = iter(())

    def run(self) -> nn.Module:
        """Search."""
        if not isinstance(self.runner.optim_wrapper, OptimWrapperDict):
            raise TypeError(
                'BilevelSearchLoop needs two optimizers: optim_wrapper must '
                "have constructor='ArchOptimWrapperConstructor', got "
                f'{type(self.runner.optim_wrapper).__name__}'
            )
        return super().run()

    def run_epoch(self) -> None:
        """Run an epoch; it starts the other half anew."""
        self._arch_batches = self._shuffled_arch_batches()
        super().run_epoch()

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Run an iteration.

        Args:
            idx: Of the iteration in its epoch.
            data_batch: Of the weights' half.
        """
        self.runner.call_hook(
            'before_train_iter', batch_idx=idx, data_batch=data_batch
        )
        outputs = bilevel_step(
            self.runner.model,
            self.runner.optim_wrapper,
            data_batch,
            self._next_arch_batch(),
        )
        self.runner.call_hook(
            'after_train_iter',
            batch_idx=idx,
            data_batch=data_batch,
            outputs=outputs,
        )
        self._iter += 1

    def _next_arch_batch(self) -> Any:
        if self._epoch < self.arch_begin:
            return None
        batch = next(self._arch_batches, None)
        if batch is None:  # this half has a batch less
            self._arch_batches = self._shuffled_arch_batches()
            batch = next(self._arch_batches)
        return batch

    def _shuffled_arch_batches(self) -> Iterator[Any]:
        sampler = self.arch_dataloader.sampler
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(self._epoch)
        return iter(self.arch_dataloader)
