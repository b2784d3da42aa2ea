"""Regression of the four sides of a box."""

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import BaseBBoxCoder
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import BaseBoxes, HorizontalBoxes, get_box_tensor
from torch import Tensor

from . import functional as kl_loss


@TASK_UTILS.register_module()
class CornerDeltaBBoxCoder(BaseBBoxCoder):
    """Differences of the sides of a box and its prior, in sizes of the prior.

    Of KL-Loss (CVPR 2019, arXiv 1809.08545, Eq. 1): each side is regressed by
    itself, so each can have a variance. Nothing keeps the decoded x1 left of
    x2. Priors without area count as 1e-6 pixels wide.

    Args:
        target_stds: Unit of a delta in sizes of the prior, for x1, y1, x2, y2
            whatever ``order`` says, or one number for all. Official: 0.1 in
            the R-CNN head, 1 in the RPN.
        order: Order of the columns of the deltas: 'xxyy' (x1, x2, y1, y2) as
            in the official code, or 'xyxy'.
        plus_one: The size of a box is x2 - x1 + 1, as in the official code.
        max_shift: A side moves by at most this many sizes of the prior;
            official: 62.5.
        clip_border: Clip decoded boxes to ``max_shape``.
        use_box_type: Return mmdet's ``HorizontalBoxes`` from :meth:`decode`.

    Raises:
        ValueError: ``target_stds``, ``order`` or ``max_shift`` is out of its
            range.
    """

    def __init__(
        self,
        target_stds: float | Sequence[float] = 0.1,
        order: str = 'xxyy',
        plus_one: bool = False,
        max_shift: float = 62.5,
        clip_border: bool = True,
        use_box_type: bool = False,
    ) -> None:
        super().__init__(use_box_type)
        stds = (
            (target_stds,) * 4
            if isinstance(target_stds, int | float)
            else tuple(target_stds)
        )
        if len(stds) != 4 or not all(std > 0 for std in stds):
            raise ValueError(
                'target_stds must be a positive number or four, got '
                f'{target_stds}'
            )
        if order not in kl_loss.ORDERS:
            raise ValueError(
                f'order must be one of {", ".join(kl_loss.ORDERS)}, got '
                f'{order!r}'
            )
        if not max_shift > 0:
            raise ValueError(f'max_shift must be positive, got {max_shift}')
        self.stds = stds
        self.order = order
        self.plus_one = plus_one
        self.max_shift = max_shift
        self.clip_border = clip_border

    def encode(
        self, bboxes: Tensor | BaseBoxes, gt_bboxes: Tensor | BaseBoxes
    ) -> Tensor:
        """Deltas of boxes.

        Args:
            bboxes: (..., 4) priors x1, y1, x2, y2 in pixels.
            gt_bboxes: (..., 4) in pixels.

        Returns:
            Tensor: (..., 4) in the order of ``order``.
        """
        return kl_loss.corner_encode(
            get_box_tensor(bboxes),
            get_box_tensor(gt_bboxes),
            self.stds,
            self.order,
            self.plus_one,
        )

    def decode(
        self,
        bboxes: Tensor | BaseBoxes,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | None = None,
    ) -> Tensor | BaseBoxes:
        """Boxes of predicted deltas.

        Args:
            bboxes: (..., 4) priors in pixels.
            pred_bboxes: (..., 4 C) deltas of C classes.
            max_shape: Height and width of the image in pixels.

        Returns:
            Tensor | BaseBoxes: (..., 4 C) x1, y1, x2, y2 in pixels.
        """
        boxes = kl_loss.corner_decode(
            get_box_tensor(bboxes),
            pred_bboxes,
            self.stds,
            self.order,
            self.plus_one,
            self.max_shift,
        )
        if self.clip_border and max_shape is not None:
            height, width = (side - self.plus_one for side in max_shape[:2])
            x, y = boxes[..., 0::2], boxes[..., 1::2]
            x, y = x.clamp(0, width), y.clamp(0, height)
            boxes = torch.stack((x, y), -1).flatten(-2)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes

    def decode_sigmas(
        self, bboxes: Tensor | BaseBoxes, alpha: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Standard deviations of the sides.

        Args:
            bboxes: (..., 4) priors in pixels.
            alpha: (..., 4 C) log-variances of the deltas of C classes.

        Returns:
            tuple: In pixels, and in units of the deltas ('normalized'), both
            (..., 4 C) for x1, y1, x2, y2.
        """
        alpha = alpha.unflatten(-1, (-1, 4))
        normalized = (kl_loss.sides_of(alpha, self.order) / 2).exp()
        units = kl_loss.side_units(
            get_box_tensor(bboxes), self.stds, self.plus_one
        )
        pixels = normalized * units[..., None, :]
        return pixels.flatten(-2), normalized.flatten(-2)
