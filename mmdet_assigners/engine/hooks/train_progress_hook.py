"""Tells the model how far the training has come."""

from dataclasses import dataclass

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn


@dataclass(frozen=True)
class TrainProgress:
    """Where the training is, at the beginning of an iteration.

    Attributes:
        fraction: Part of the schedule that is done, in [0, 1).
        epoch: Epochs that are done.
        max_epochs: Epochs of the schedule.
        iter: Iterations that are done.
        max_iters: Iterations of the schedule.
    """

    fraction: float
    epoch: int
    max_epochs: int
    iter: int
    max_iters: int


def followers(model: nn.Module) -> list[str]:
    """Classes of the modules that need a ``TrainProgressHook``.

    Those with ``set_train_progress``, unless their options make
    ``follows_progress`` False.
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

    For methods that change while they train (the two phases of SAPD,
    annealed weights). Before each iteration every submodule of the model with
    a method ``set_train_progress(progress: TrainProgress)`` is called. The
    progress comes from the runner's counters, so a resumed run goes on in the
    phase where it stopped, and nothing is stored in checkpoints. Schedules
    written as fractions keep their meaning when the schedule is shortened.
    """

    priority = 'HIGH'

    def before_train(self, runner: Runner) -> None:
        """Find the modules that listen; the runner has resumed by now."""
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
        """Tell them.

        Args:
            runner: Gives the counters.
            batch_idx: Index of the batch in its epoch; in an iteration-based
                loop, in the training.
            data_batch: Not used.
        """
        progress = train_progress(runner, batch_idx)
        for module in self._listeners:
            module.set_train_progress(progress)


def train_progress(runner: Runner, batch_idx: int) -> TrainProgress:
    """The progress of a runner before its ``batch_idx``-th iteration.

    Epoch-based loops count in epochs: the number of iterations that a
    checkpoint remembers is wrong after the batch size has changed.
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
