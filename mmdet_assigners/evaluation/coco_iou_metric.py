"""COCO AP at a single IoU threshold."""

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS


@METRICS.register_module()
class CocoIoUMetric(CocoMetric):
    """AP at one IoU threshold, such as AP80 and AP90 of the KL-Loss paper.

    ``CocoMetric`` with a list as ``iou_thrs`` fails in pycocotools, which
    needs an array. Use it beside the ordinary metric: ``val_evaluator`` may be
    a list. The result is named ``coco_80/bbox_mAP`` for a threshold of 0.8.

    Args:
        *args: Arguments of ``CocoMetric``.
        iou_thr: Smallest IoU of a true positive, in (0, 1].
        prefix: Prefix of the name of the result; by default ``coco_`` and the
            threshold in percent.
        **kwargs: Arguments of ``CocoMetric``, except ``iou_thrs`` and
            ``metric_items``.

    Raises:
        ValueError: ``iou_thr`` is out of range.
    """

    def __init__(
        self,
        *args: object,
        iou_thr: float,
        prefix: str | None = None,
        **kwargs: object,
    ) -> None:
        if not 0 < iou_thr <= 1:
            raise ValueError(f'iou_thr must be in (0, 1], got {iou_thr}')
        super().__init__(
            *args,
            iou_thrs=np.array([iou_thr]),
            metric_items=['mAP'],
            prefix=prefix or f'coco_{100 * iou_thr:g}',
            **kwargs,
        )
