"""Metrics of full and of visible boxes."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric, CrowdHumanMetric
from mmdet.registry import METRICS
from mmengine.fileio import get_text

from ...models.checks import pick
from .dataset import pair_of
from .functional import fit_visible

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
    the file are those of ``PairedCocoDataset``; visible ones end at the full
    box, which takes the place of those without area, as in training.

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
            pair = pair_of(annotation)
            box = list(pair[0] if self.boxes == 'full' else _visible(*pair))
            annotation.update(bbox=box, area=box[2] * box[3])
            annotation.pop('full_bbox', None)
            annotation.pop('vis_bbox', None)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions of B images.
        """
        super().process(data_batch, of_boxes(data_samples, self.boxes))


def _visible(full: Sequence[float], visible: Sequence[float]) -> list[float]:
    """The visible box that a model learns, x, y, width and height."""
    corners = [
        torch.tensor([[x, y, x + width, y + height]], dtype=torch.float64)
        for x, y, width, height in (full, visible)
    ]
    x1, y1, x2, y2 = fit_visible(*corners)[0].tolist()
    return [x1, y1, x2 - x1, y2 - y1]


@METRICS.register_module()
class VisibleCrowdHumanMetric(CrowdHumanMetric):
    """``CrowdHumanMetric`` of the visible boxes.

    For NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Takes the
    arguments of ``CrowdHumanMetric``; its numbers have the prefix
    ``crowd_human_visible``.
    """

    default_prefix = 'crowd_human_visible'
    ann_file: str

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions of B images.
        """
        super().process(data_batch, of_boxes(data_samples, 'visible'))

    def load_eval_samples(self, result_file: str) -> dict:
        """Predictions and ground truths by image.

        mmdet reads full boxes from its file, so it gets one with visible
        boxes in their place.

        Args:
            result_file: Predictions.
        """
        original = self.ann_file
        text = get_text(original, backend_args=self.backend_args)
        records = [json.loads(line) for line in text.strip().split('\n')]
        for record in records:
            for box in record['gtboxes']:
                box['fbox'] = box['vbox']
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'visible.odgt'
            path.write_text('\n'.join(map(json.dumps, records)))
            try:
                self.ann_file = str(path)
                return super().load_eval_samples(result_file)
            finally:
                self.ann_file = original
