"""Boxes of several scales, averaged with those that they suppress.

Source: princeton-vl/CornerNet.
"""

import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from ...models.layers.merge_duplicates import merge_duplicates


def merge_pairs(
    found: InstanceData,
    nms: dict,
    max_per_img: int,
    exponent: float | None = None,
) -> InstanceData:
    """Run an NMS class by class, and average boxes with those they suppress.

    A box is averaged with those whose score it lowers by a factor w, with the
    weights ``(1 - w) ** exponent``, times the score of the corner.

    Args:
        found: ``bboxes`` (N, 4), ``scores`` and ``labels`` (N,), and
            ``corner_scores`` (N, 2) of the top-left and bottom-right corners.
        nms: Config of mmcv's NMS.
        max_per_img: How many are kept, and all that tie with the last.
        exponent: Of the weights, 10 in the official code; None: boxes stay as
            they are.

    Returns:
        InstanceData: By descending score, without the scores of corners.

    Raises:
        ValueError: An exponent without a Gaussian soft-NMS.
    """
    if exponent is None:
        found = merge_duplicates(found, nms, max_per_img)
    else:
        if (nms.get('type'), nms.get('method')) != ('soft_nms', 'gaussian'):
            raise ValueError(
                "merge_exponent needs nms=dict(type='soft_nms', "
                f"method='gaussian', ...), got {nms}"
            )
        found = _average_suppressed(found, nms, max_per_img, exponent)
    del found.corner_scores
    return found


def _average_suppressed(
    found: InstanceData, nms: dict, max_per_img: int, exponent: float
) -> InstanceData:
    """See :func:`merge_pairs`."""
    found.row = torch.arange(len(found), device=found.scores.device)
    kept = merge_duplicates(found, nms, 0)
    merged = kept.bboxes.clone()
    for label in kept.labels.unique():
        own = kept.labels == label
        rows = found[found.labels == label]
        merged[own] = average(
            rows,
            (rows.row == kept.row[own, None]).long().argmax(1),
            nms.get('sigma', 0.5),
            nms.get('min_score', 1e-3),
            nms.get('offset', 0),
            exponent,
        )
    kept.bboxes = merged
    if 0 < max_per_img < len(kept):
        kept = kept[kept.scores >= kept.scores[max_per_img - 1]]
    del kept.row
    return kept


def average(
    rows: InstanceData,
    chosen: Tensor,
    sigma: float,
    min_score: float,
    offset: int,
    exponent: float,
) -> Tensor:
    """Averages of the boxes of one class that a soft-NMS chose.

    Args:
        rows: N boxes, see :func:`merge_pairs`.
        chosen: (M,) int64 numbers of the boxes, in the order of the NMS.
        sigma: Of the Gaussian.
        min_score: Boxes whose scores fall below it are removed.
        offset: 1 for inclusive corners.
        exponent: Of the weights.

    Returns:
        Tensor: (M, 4) boxes.
    """
    sides = rows.bboxes + rows.bboxes.new_tensor((0, 0, offset, offset))
    factor = (-(bbox_overlaps(sides[chosen], sides) ** 2) / sigma).exp()
    # a box counts as long as it is neither chosen nor removed
    step = torch.arange(len(chosen), device=chosen.device)
    turn = step.new_full((len(rows),), len(chosen)).scatter(0, chosen, step)
    before = torch.cat((torch.ones_like(factor[:1]), factor[:-1])).cumprod(0)
    present = (turn > step[:, None]) & (before * rows.scores >= min_score)
    weight = (1 - factor) ** exponent * present
    weight[step, chosen] = 1
    scores = rows.corner_scores.repeat_interleave(2, 1)
    return weight @ (rows.bboxes * scores) / (weight @ scores)
