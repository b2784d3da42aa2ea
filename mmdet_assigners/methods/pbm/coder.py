"""Deltas of pairs of boxes."""

import functools
from typing import Any

import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from .boxes import PairedBoxes


@TASK_UTILS.register_module()
class PairedDeltaXYWHBBoxCoder(DeltaXYWHBBoxCoder):
    """``DeltaXYWHBBoxCoder`` of full and visible box, 8 deltas.

    PBM, CVPR 2020, arXiv 2003.12729. Takes the arguments of
    ``DeltaXYWHBBoxCoder``. Priors are pairs (N, 8), or boxes (N, 4) that are
    the prior of both.
    """

    encode_size = 8

    def encode(self, bboxes: Any, gt_bboxes: Any) -> Tensor:
        """Deltas of pairs.

        Args:
            bboxes: Priors, (N, 8) or (N, 4).
            gt_bboxes: Pairs (N, 8).

        Returns:
            Tensor: (N, 8).
        """
        gts = get_box_tensor(gt_bboxes).chunk(2, -1)
        encode = super().encode
        deltas = map(encode, _both(bboxes), gts)
        return torch.cat(tuple(deltas), -1)

    def decode(
        self, bboxes: Any, pred_bboxes: Tensor, **options: Any
    ) -> PairedBoxes:
        """Pairs of deltas.

        Args:
            bboxes: Priors, (N, 8) or (N, 4).
            pred_bboxes: (N, 8).
            **options: Of ``DeltaXYWHBBoxCoder.decode``.

        Returns:
            PairedBoxes: N pairs.
        """
        decode = functools.partial(super().decode, **options)
        boxes = map(decode, _both(bboxes), pred_bboxes.chunk(2, -1))
        return PairedBoxes.of(*map(get_box_tensor, boxes))


def _both(priors: Any) -> tuple[Tensor, ...]:
    """Priors of the full and of the visible boxes."""
    priors = get_box_tensor(priors)
    return (priors, priors) if priors.shape[-1] == 4 else priors.chunk(2, -1)
