"""Ends a training whose loss is infinite or NaN."""

import math
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends the training when its loss is infinite or NaN.

    Unlike mmdet's ``CheckInvalidLossHook`` it also looks before a checkpoint
    is written, and says what to do.

    Args:
        interval: Iterations between two looks, each of which synchronizes
            with the device.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at the loss.

        Args:
            runner: Of the training.
            batch_idx: Index of the batch in the epoch.
            data_batch: Not used.
            outputs: ``loss``, a scalar, and its parts.

        Raises:
            FloatingPointError: The loss is infinite or NaN.
        """
        last = batch_idx + 1 == len(runner.train_dataloader)
        if not last and not self.every_n_train_iters(runner, self.interval):
            return
        outputs = outputs or {}
        loss = outputs['loss'].item()
        if not math.isfinite(loss):
            said = ', '.join(
                f'{key} {value.item():.4g}'
                for key, value in outputs.items()
                if key != 'loss'
            )
            raise FloatingPointError(
                f'the loss is {loss} at iteration {runner.iter + 1}'
                f'{f" ({said})" if said else ""}; '
                'mmdet-assigners check looks for the cause in the data, a '
                'lower learning rate or optim_wrapper.clip_grad may help'
            )
