"""Feature depression of MAL: weaken what is most active, while training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from . import functional as mal

if TYPE_CHECKING:
    from ...engine.hooks.train_progress_hook import TrainProgress


def iteration_of(progress: 'TrainProgress') -> int:
    """Iteration, from 1, that begins at ``progress``.

    From the fraction: after resuming with another batch size the counter of
    iterations is wrong.
    """
    return round(progress.fraction * progress.max_iters) + 1


class FeatureDepression(nn.Module):
    """Weakens the features at the most active positions of each level.

    The activation of a position is the sum over channels of its features
    times the channel's mean over the map. The share of positions follows a
    schedule over the training, which ``TrainProgressHook`` announces; without
    the hook, and in evaluation mode, nothing is weakened.

    Paper: Multiple Anchor Learning for Visual Object Detection, CVPR 2020,
    arXiv 1912.02252. This is the form of the official code; the paper's
    formula, (1 + M') times the features, has no option.

    Args:
        type: 'spatial', or 'channel_spatial': channels of largest mean too.
        schedule: Official number of the schedule, 0 to 8, see
            :func:`~.functional.depression_ratio`.
        keep: Factor of weakened features; 1/4 in the official code.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self, type: str = 'spatial', schedule: int = 5, keep: float = 0.25
    ) -> None:
        super().__init__()
        if type not in mal.VARIANTS:
            raise ValueError(
                f'depression type must be one of {", ".join(mal.VARIANTS)}, '
                f'got {type!r}'
            )
        if schedule not in range(mal.NUM_SCHEDULES):
            raise ValueError(
                f'depression schedule must be in 0..8, got {schedule!r}'
            )
        if not 0 <= keep <= 1:
            raise ValueError(f'depression keep must be in [0, 1], got {keep}')
        self.variant = type
        self.schedule = schedule
        self.keep = keep
        self.ratio = 0.0

    def set_train_progress(self, progress: 'TrainProgress') -> None:
        """Set the ratio; called by ``TrainProgressHook``."""
        self.ratio = mal.depression_ratio(
            self.schedule, iteration_of(progress), progress.max_iters
        )

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Weaken a pyramid.

        Args:
            feats: L feature maps (B, channels, H_l, W_l).

        Returns:
            tuple: L feature maps.
        """
        if not self.training or self.ratio == 0:
            return tuple(feats)
        options = self.ratio, self.variant
        return tuple(
            mal.depress(feat, mal.kept_positions(feat, *options), self.keep)
            for feat in feats
        )

    def extra_repr(self) -> str:
        """The options, for ``print(model)``."""
        return f'{self.variant}, schedule={self.schedule}, keep={self.keep}'
