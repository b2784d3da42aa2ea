"""FPN of DSFPN: it gives its lateral maps for the auxiliary heads."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch import Tensor

from .dual_pyramid import DualPyramid


@MODELS.register_module()
class DuallySupervisedFPN(FPN):
    """FPN whose bottom-up side can be supervised too.

    In training its output also carries the outputs of the lateral 1x1
    convolutions, before anything is added top-down: a tuple with the levels of
    FPN, whose attribute ``laterals`` RoI heads of the family
    ``DuallySupervised*`` read. The laterals are not detached. In evaluation
    it is an FPN.

    Paper: Dually Supervised Feature Pyramid for Object Detection and
    Segmentation, arXiv 1912.03730. The laterals are where the official code
    (fyangneil/DSFPN) attaches its heads.

    Args: those of ``FPN``.
    """

    def forward(
        self, inputs: Sequence[Tensor], return_laterals: bool | None = None
    ) -> tuple[Tensor, ...]:
        """Levels of FPN and, in training, its laterals.

        Args:
            inputs: Maps of the backbone, finest first.
            return_laterals: None is True in training only.

        Returns:
            tuple: ``num_outs`` maps (B, C, H_l, W_l); a ``DualPyramid`` if
            the laterals are returned.
        """
        if return_laterals is None:
            return_laterals = self.training
        if not return_laterals:
            return super().forward(inputs)
        with _outputs(self.lateral_convs) as laterals:
            levels = super().forward(inputs)
        return DualPyramid(levels, laterals)


@contextmanager
def _outputs(modules: Iterable) -> Iterator[list[Tensor]]:
    """What the modules return meanwhile, in the order of their calls."""
    outputs: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda *args: outputs.append(args[2]))
        for module in modules
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
