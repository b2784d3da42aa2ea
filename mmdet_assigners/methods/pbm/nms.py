"""NMS of pairs: R2NMS or any other."""

from collections.abc import Callable

from mmcv.ops import batched_nms
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor


def by_visible(nms_cfg: dict) -> tuple[bool, dict]:
    """Whether visible boxes decide, and the NMS of mmcv to use.

    Args:
        nms_cfg: ``dict(type='r2nms', iou_threshold=0.5)`` (NMS by
            Representative Region, CVPR 2020, arXiv 2003.12729), or any
            ``nms`` of mmcv, which compares full boxes.

    Raises:
        TypeError: A key that R2NMS does not have.
        ValueError: ``iou_threshold`` is missing or not in [0, 1].
    """
    if nms_cfg.get('type') != 'r2nms':
        return False, nms_cfg
    known = {'type', 'iou_threshold', 'class_agnostic'}
    wrong = nms_cfg.keys() - known
    if wrong:
        raise TypeError(
            f'r2nms has no key {sorted(wrong)[0]}; it has iou_threshold and '
            'class_agnostic'
        )
    threshold = nms_cfg.get('iou_threshold')
    if threshold is None or not 0 <= threshold <= 1:
        raise ValueError(
            f'iou_threshold of r2nms must be 0 to 1, got {threshold}'
        )
    return True, ConfigDict(nms_cfg, type='nms')


def swapped(
    results: InstanceData, function: Callable[[InstanceData], InstanceData]
) -> InstanceData:
    """Apply a function of ``bboxes`` to the visible boxes instead.

    Args:
        results: With ``bboxes`` and ``visible_bboxes`` (N, 4).
        function: Of results with both.
    """
    return _swap(function(_swap(results)))


def _swap(results: InstanceData) -> InstanceData:
    full, visible = results.bboxes, results.visible_bboxes
    results.bboxes, results.visible_bboxes = visible, full
    return results


def paired_nms(
    results: InstanceData, ids: Tensor, nms_cfg: dict
) -> InstanceData:
    """NMS that keeps pairs.

    Args:
        results: With ``bboxes``, ``visible_bboxes`` (N, 4) and ``scores``
            (N,).
        ids: (N,) classes, which do not compete.
        nms_cfg: See :func:`by_visible`.

    Returns:
        InstanceData: The kept ones, best first.
    """
    visible, cfg = by_visible(nms_cfg)
    if len(results) == 0:
        return results
    boxes = results.visible_bboxes if visible else results.bboxes
    dets, keep = batched_nms(boxes, results.scores, ids, cfg)
    results = results[keep]
    # soft-NMS changes scores
    results.scores = dets[:, -1]
    return results
