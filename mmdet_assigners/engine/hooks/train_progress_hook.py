"""Tells the modules of a model the progress of the training."""

from dataclasses import dataclass

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn


@dataclass(frozen=True)
class TrainProgress:
    """Progress of the training at the beginning of an iteration.

    Attributes:
        fraction: Finished part of the schedule, in [0, 1).
        epoch: Number of finished epochs.
        max_epochs: Number of epochs of the schedule.
        iter: Number of finished iterations.
        max_iters: Number of iterations of the schedule.
    """

    fraction: float
    epoch: int
    max_epochs: int
    iter: int
    max_iters: int


def followers(model: nn.Module) -> list[str]:
    """Classes of the modules that need a ``TrainProgressHook``.

    They have a method ``set_train_progress``, and ``follows_progress`` is not
    False.
    """
    found = [
        type(module).__name__
        for module in model.modules()
        if hasattr(module, 'set_train_progress')
        and getattr(module, 'follows_progress', True)
    ]
    return list(dict.fromkeys(found))


@HOOKS.register_module()
class TrainProgressHook(Hook):
    """Calls ``set_train_progress`` of every module that has it.

    For methods that change during training (the two phases of SAPD, annealed
    weights). Before each iteration the hook calls
    ``set_train_progress(progress: TrainProgress)`` of every module that has
    this method. The progress comes from the runner's counters, so a resumed
    run continues in the phase where it stopped, and checkpoints store
    nothing. Phases given as fractions keep their meaning when the schedule is
    shortened.
    """

    priority = 'HIGH'

    def before_train(self, runner: Runner) -> None:
        """Find the modules to call; the runner has resumed by now."""
        self._listeners = [
            module
            for module in runner.model.modules()
            if hasattr(module, 'set_train_progress')
        ]
        if not self._listeners:
            runner.logger.warning(
                'TrainProgressHook: no module of the model has a method '
                'set_train_progress, so the hook does nothing'
            )

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
    ) -> None:
        """Call the modules.

        Args:
            runner: Has the counters.
            batch_idx: Index of the batch in its epoch; in an iteration-based
                loop, in the training.
            data_batch: Not used.
        """
        progress = train_progress(runner, batch_idx)
        for module in self._listeners:
            module.set_train_progress(progress)


def train_progress(runner: Runner, batch_idx: int) -> TrainProgress:
    """The progress of a runner before its ``batch_idx``-th iteration.

    Epoch-based loops count in epochs: the number of iterations in a
    checkpoint is wrong after a change of the batch size.
    """
    loop = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        fraction = runner.iter / runner.max_iters
    else:
        done = runner.epoch + batch_idx / len(loop.dataloader)
        fraction = done / runner.max_epochs
    return TrainProgress(
        fraction=fraction,
        epoch=runner.epoch,
        max_epochs=runner.max_epochs,
        iter=runner.iter,
        max_iters=runner.max_iters,
    )
