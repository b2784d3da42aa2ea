"""Anchors of mmdet 1.x."""

from mmdet.models.task_modules.prior_generators import LegacyAnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class MMDetV1AnchorGenerator(LegacyAnchorGenerator):
    """Anchors of mmdet 1.x with exclusive corners, for the ordinary coder.

    There x2 is the last pixel of an anchor, corners are rounded and sides are
    x2 - x1 + 1. mmdet's ``LegacyAnchorGenerator`` makes them so; here x2 is
    the coordinate behind that pixel, and coder, assigner and NMS need no + 1.

    Args:
        *args: Of ``AnchorGenerator``.
        center_offset: Center in units of stride - 1, before the rounding.
        **kwargs: Of ``AnchorGenerator``.
    """

    def __init__(
        self, *args: object, center_offset: float = 0.5, **kwargs: object
    ) -> None:
        super().__init__(*args, center_offset=center_offset, **kwargs)

    def gen_single_level_base_anchors(
        self,
        base_size: float,
        scales: Tensor,
        ratios: Tensor,
        center: tuple[float, float] | None = None,
    ) -> Tensor:
        """Anchors of the first cell of a level.

        Args:
            base_size: Side of an anchor of scale 1, in pixels.
            scales: (S,).
            ratios: (R,) height over width.
            center: x and y in pixels.

        Returns:
            Tensor: (R S, 4) x1, y1, x2, y2.
        """
        anchors = super().gen_single_level_base_anchors(
            base_size, scales, ratios, center
        )
        return anchors + anchors.new_tensor([0, 0, 1, 1])
