"""Writes what a search has found, after every epoch."""

from collections.abc import Mapping
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .bilevel import BilevelSearchLoop, unwrapped
from .genotype import PARTS, write_genotype

KEEP = dict(backbone=8, neck=8, head=8)


@HOOKS.register_module()
class ArchDeriveHook(Hook):
    """Writes the genotype and logs the entropy of the operations.

    ``genotypes/epoch_N.json`` in the work folder, and ``genotype.json`` for
    the last. Files are replaced at once; a resumed run goes on with the next.

    Args:
        keep: Name of a part -> how many operations step 1 keeps; 8 by
            default.

    Raises:
        ValueError: Another part, or a number below 1.
        TypeError: Before the training, a loop that does not search.
    """

    def __init__(self, keep: Mapping[str, int] | None = None) -> None:
        self.keep = KEEP | dict(keep or {})
        for name, value in self.keep.items():
            if name not in PARTS or value < 1:
                raise ValueError(
                    f'keep must have numbers of at least 1 for '
                    f'{", ".join(PARTS)}, got {name}={value}'
                )

    def before_train(self, runner: Runner) -> None:
        """Refuse a training that would not search.

        Args:
            runner: Has the loop.
        """
        if not isinstance(runner.train_loop, BilevelSearchLoop):
            raise TypeError(
                'a search needs train_cfg.type=BilevelSearchLoop, got '
                f'{type(runner.train_loop).__name__} (which --small sets: '
                'search with --mini or at full size)'
            )

    @master_only
    def after_train_epoch(self, runner: Runner) -> None:
        """Write and log.

        Args:
            runner: Has the model, a `SearchFasterRCNN`.
        """
        epoch = runner.epoch + 1
        found = unwrapped(runner.model).genotype(self.keep)
        folder = Path(runner.work_dir)
        for path in (f'genotypes/epoch_{epoch}.json', 'genotype.json'):
            write_genotype(folder / path, dict(epoch=epoch, **found))
        entropies = {name: found[name]['entropy'] for name in PARTS}
        runner.logger.info(
            'entropy of the operations in nats: '
            + ', '.join(f'{k} {v:.3f}' for k, v in entropies.items())
        )
        runner.visualizer.add_scalars(
            {f'op_entropy/{name}': value for name, value in entropies.items()},
            step=runner.iter,
        )
