"""Ends a training whose evaluations bring nothing."""

from mmdet.registry import HOOKS
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner


@HOOKS.register_module()
class StopWithoutGainHook(EarlyStoppingHook):
    """``EarlyStoppingHook`` for metrics of detection, where more is better.

    mmengine's skips an evaluation without any detection, which ``CocoMetric``
    gives no metrics for; here it counts as 0. An equal value is no gain.

    Args:
        monitor: Name of the metric, e.g. ``coco/bbox_mAP``.
        patience: Evaluations in a row without a gain that end the training.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        # with a difference of 0 mmengine takes an equal value for a gain
        super().__init__(
            monitor, rule='greater', min_delta=1e-6, patience=patience
        )

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float]
    ) -> None:
        """Decide whether to go on.

        Args:
            runner: Of the training.
            metrics: Of the evaluation.

        Raises:
            ValueError: Its evaluator gives metrics, but not this one.
        """
        prefix = self.monitor.partition('/')[0] + '/'
        same = [name for name in metrics if name.startswith(prefix)]
        if same and self.monitor not in metrics:
            raise ValueError(
                f'there is no metric {self.monitor} to monitor; there are '
                f'{", ".join(metrics)}'
            )
        super().after_val_epoch(runner, {self.monitor: 0.0} | metrics)
