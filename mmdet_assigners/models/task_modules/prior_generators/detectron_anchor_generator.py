"""Anchors of Detectron and its descendants."""

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class DetectronAnchorGenerator(AnchorGenerator):
    """Anchors as py-faster-rcnn, Detectron and maskrcnn-benchmark make them.

    At scale 1 the sides are whole pixels, w = round(s / sqrt(ratio)) and
    h = round(w ratio) for base size s, half to even; both are multiplied by
    the scale. So stride 8 and ratio 0.5 is 11 x 6, an aspect of 0.55. mmdet's
    ``LegacyAnchorGenerator`` differs: it rounds the corners instead.

    Corners are exclusive: in that code x2 is the last pixel, here the
    coordinate behind it. The center (s - 1) / 2 of the pixels of a cell is
    s / 2 in these coordinates. So coder, assigner and NMS are the ordinary
    ones, without any + 1.

    Args:
        *args: Of ``AnchorGenerator``.
        center_offset: Center in units of s.
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
            Tensor: (R S, 4) x1, y1, x2, y2, scales within ratios with
            ``scale_major``, ratios within scales without it.
        """
        ratios = ratios.double()
        width = (base_size**2 / ratios).sqrt().round()
        size = torch.stack((width, (width * ratios).round()), -1)
        sides = size[:, None] * scales.double()[:, None]
        if not self.scale_major:
            sides = sides.transpose(0, 1)
        half = sides.flatten(0, 1) / 2
        middle = half.new_tensor(
            center or (self.center_offset * base_size,) * 2
        )
        return torch.cat((middle - half, middle + half), -1).to(scales)
