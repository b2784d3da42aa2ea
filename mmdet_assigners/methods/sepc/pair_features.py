"""Base class of dense heads whose two branches read different features."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn


class PairFeatureMixin:
    """Lets a dense head take a (cls, reg) pair of features per level.

    mmdet's dense heads run the same level through ``cls_convs`` and
    ``reg_convs``. Here each tower begins by picking its own member of the
    pair, so every method of the head stays as it is and its state dict keeps
    its names. A level that is a single map goes to both towers as always.
    Put the mixin before the head::

        class SEPCRetinaHead(PairFeatureMixin, RetinaHead): ...

    Any head with these two towers (``RetinaHead``, ``ATSSHead``,
    ``FCOSHead``, ``GFLHead``, ...) will do; with ``stacked_convs=0`` the
    predictors read the pair directly.

    Shapes: a level is one map [B, C, H, W] or a pair of such maps.
    """

    cls_convs: nn.ModuleList
    reg_convs: nn.ModuleList

    def _init_layers(self) -> None:
        super()._init_layers()  # type: ignore[misc]
        self.cls_convs = TaskTower(self.cls_convs, 0)
        self.reg_convs = TaskTower(self.reg_convs, 1)


class TaskTower(nn.ModuleList):
    """The convs of one branch; iterating begins with picking its feature.

    Args:
        convs: Convolutions of the tower.
        member: Member of the pair that belongs to this branch: 0 for
            classification, 1 for regression.
    """

    def __init__(self, convs: Iterable[nn.Module], member: int) -> None:
        super().__init__(convs)
        self.member = member

    def __iter__(self) -> Iterator[Callable[[Any], Tensor]]:
        yield self.pick
        yield from super().__iter__()

    def pick(self, x: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """The branch's own feature.

        Args:
            x: A map [B, C, H, W] or a (cls, reg) pair of maps.

        Returns:
            Shape [B, C, H, W].

        Raises:
            TypeError: It is neither.
        """
        if isinstance(x, Tensor):
            return x
        if not isinstance(x, list | tuple) or len(x) != 2:
            size = f' of {len(x)}' if isinstance(x, list | tuple) else ''
            raise TypeError(
                'a level of the features must be a tensor or a (cls, reg) '
                f'pair of tensors, got {type(x).__name__}{size}'
            )
        return x[self.member]
