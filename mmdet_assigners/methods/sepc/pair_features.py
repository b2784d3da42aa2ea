"""Pairs of features, and the base class of dense heads that read them."""

from collections.abc import Iterable
from typing import Any, NoReturn

from torch import Tensor, nn


class FeaturePair(tuple):
    """The (cls, reg) features of a level, two maps [B, C, H, W].

    A tuple that says what it is where a map was expected: in a head, a RoI
    extractor or a neck that doesn't know pairs.
    """

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        """Refuse tensor functions."""
        raise TypeError(_NO_MAP)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f'{_NO_MAP} (asked for {name!r})')


_NO_MAP = (
    'a level of SEPC is a (cls, reg) pair of feature maps, not one map: use '
    'SEPCRetinaHead or another head on PairFeatureMixin, or '
    'task_convs=False in the neck'
)


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
        self.cls_convs = task_tower(self.cls_convs, 0)
        self.reg_convs = task_tower(self.reg_convs, 1)


class PickFeature(nn.Module):
    """Picks the feature of one branch.

    Args:
        member: Member of the pair that belongs to this branch: 0 for
            classification, 1 for regression.
    """

    def __init__(self, member: int) -> None:
        super().__init__()
        self.member = member

    def forward(self, x: Tensor | tuple[Tensor, Tensor]) -> Tensor:
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

    def extra_repr(self) -> str:
        """The branch, for ``print(model)``."""
        return ('cls', 'reg')[self.member]


def task_tower(convs: Iterable[nn.Module], member: int) -> nn.ModuleList:
    """The convolutions of one branch behind the choice of its feature.

    Args:
        convs: Convolutions of the tower.
        member: See :class:`PickFeature`.

    Returns:
        torch.nn.ModuleList: ``pick``, then ``0``, ``1``, ...: parameters keep
        their names.
    """
    tower = nn.ModuleList()
    tower.add_module('pick', PickFeature(member))
    for index, conv in enumerate(convs):
        tower.add_module(str(index), conv)
    return tower
