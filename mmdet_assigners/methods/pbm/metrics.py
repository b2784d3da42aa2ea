"""Metrics of full and of visible boxes."""

from collections.abc import Sequence
from typing import Any

from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric, CrowdHumanMetric
from mmdet.registry import METRICS

from ...models.checks import pick
from .dataset import pair_of

_BOXES = dict(full='bboxes', visible='visible_bboxes')


def of_boxes(data_samples: Sequence[dict], boxes: str) -> list[dict]:
    """Samples whose predicted ``bboxes`` are those to evaluate.

    Args:
        data_samples: Predictions of images.
        boxes: ``'full'`` or ``'visible'``.

    Raises:
        ValueError: Visible boxes are not predicted.
    """
    key = _BOXES[boxes]
    samples = []
    for sample in data_samples:
        found = sample['pred_instances']
        if key not in found:
            raise ValueError(
                f'pred_instances have no {key}: the model does not predict '
                'visible boxes'
            )
        chosen = dict(found.items(), bboxes=found[key])
        samples.append(dict(sample, pred_instances=chosen))
    return samples


@METRICS.register_module()
class PairedCocoMetric(CocoMetric):
    """``CocoMetric`` of the full or the visible boxes.

    For NMS by Representative Region, CVPR 2020, arXiv 2003.12729. The boxes of
    the file are those of ``PairedCocoDataset``.

    Args:
        *args: Of ``CocoMetric``.
        boxes: ``'full'`` or ``'visible'``.
        **kwargs: Of ``CocoMetric``.

    Raises:
        ValueError: Another ``boxes``.
    """

    def __init__(
        self, *args: object, boxes: str = 'full', **kwargs: object
    ) -> None:
        pick(_BOXES, boxes, 'boxes')
        super().__init__(*args, **kwargs)
        self.boxes = boxes
        if getattr(self, '_coco_api', None) is not None:
            self._choose(self._coco_api)

    def _choose(self, coco: COCO) -> None:
        for annotation in coco.dataset['annotations']:
            full, visible = pair_of(annotation)
            box = full if self.boxes == 'full' else visible
            annotation.update(bbox=list(box), area=box[2] * box[3])
            annotation.pop('full_bbox', None)
            annotation.pop('vis_bbox', None)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions of B images.
        """
        super().process(data_batch, of_boxes(data_samples, self.boxes))


@METRICS.register_module()
class VisibleCrowdHumanMetric(CrowdHumanMetric):
    """``CrowdHumanMetric`` of the visible boxes.

    For NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Takes the
    arguments of ``CrowdHumanMetric``; its numbers have the prefix
    ``crowd_human_visible``.
    """

    default_prefix = 'crowd_human_visible'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions of B images.
        """
        super().process(data_batch, of_boxes(data_samples, 'visible'))
