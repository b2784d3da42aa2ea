"""Visible boxes in pipelines."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.models.data_preprocessors import BatchResize
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes, get_box_tensor
from torch import Tensor

from .boxes import PairedBoxes
from .functional import fit_visible


@TRANSFORMS.register_module()
class LoadVisibleBoxes(BaseTransform):
    """Make ``gt_bboxes`` pairs of full and visible boxes.

    For NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Comes right
    behind ``LoadAnnotations``. The visible box of an instance is its ``vbox``
    (mmdet's ``CrowdHumanDataset``, ``PairedCocoDataset``), clipped to the full
    box; an instance without one, or whose visible box has no area in the full
    box, gets the full box. Full boxes may leave the image. Flips, sizes, crops
    and paddings that follow, of mmdet or others that treat ``gt_bboxes`` as
    mmdet's boxes, move and remove whole pairs (``PairedBoxes``). Close the
    pipeline with ``PackPairedInputs``.

    Args:
        clip: Clip visible boxes to full boxes. If False, those without area
            are replaced all the same.
    """

    def __init__(self, clip: bool = True) -> None:
        self.clip = clip

    def transform(self, results: dict) -> dict:
        """Replace ``gt_bboxes``.

        Args:
            results: Of the pipeline, with ``instances`` and ``gt_bboxes``.

        Raises:
            ValueError: Boxes were changed between, or a visible box is no
                box.
        """
        instances = results.get('instances', [])
        boxes = results.get('gt_bboxes')
        if boxes is None or len(boxes) != len(instances):
            raise ValueError(
                'LoadVisibleBoxes must come right behind LoadAnnotations '
                'with with_bbox=True'
            )
        full = torch.as_tensor(get_box_tensor(boxes)).float().reshape(-1, 4)
        visible = full.clone()
        for index, instance in enumerate(instances):
            box = instance.get('vbox')
            if box is None:
                continue
            if np.shape(box) != (4,):
                raise ValueError(
                    'vbox must be x1, y1, x2, y2, got '
                    f'{box} in {results.get("img_path")}'
                )
            visible[index] = torch.as_tensor(box)
        fitted = fit_visible(full, visible)
        if not self.clip:
            same = (fitted == full).all(1, keepdim=True)
            fitted = fitted.where(same, visible)
        results['gt_bboxes'] = PairedBoxes.of(full, fitted)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(clip={self.clip})'


@TRANSFORMS.register_module()
class PackPairedInputs(PackDetInputs):
    """``PackDetInputs`` that also packs ``visible_bboxes``.

    For NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Where a crop
    left nothing of the visible box, the full box takes its place. Takes the
    arguments of ``PackDetInputs``.
    """

    mapping_table = {
        **PackDetInputs.mapping_table,
        'gt_visible_bboxes': 'visible_bboxes',
    }

    def transform(self, results: dict) -> dict:
        """Pack.

        Args:
            results: Of the pipeline.

        Raises:
            ValueError: ``gt_bboxes`` are no pairs.
        """
        pairs = results.get('gt_bboxes')
        if not isinstance(pairs, PairedBoxes):
            raise ValueError(
                'PackPairedInputs needs pairs in gt_bboxes, got '
                f'{type(pairs).__name__}: LoadVisibleBoxes is missing, or a '
                'transform replaced them'
            )
        visible = fit_visible(pairs.full, pairs.visible)
        return super().transform(
            results
            | dict(
                gt_bboxes=HorizontalBoxes(pairs.full),
                gt_visible_bboxes=visible,
            )
        )


@MODELS.register_module()
class PairedBatchResize(BatchResize):
    """``BatchResize`` that also scales ``visible_bboxes``.

    For NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Takes the
    arguments of ``BatchResize``.
    """

    def forward(self, inputs: Tensor, data_samples: list | None) -> tuple:
        """Resize a batch.

        Args:
            inputs: (B, 3, H, W).
            data_samples: Of B images, changed in place.

        Returns:
            tuple: Both, resized.
        """
        inputs, data_samples = super().forward(inputs, data_samples)
        for sample in data_samples or []:
            for instances in (sample.gt_instances, sample.ignored_instances):
                if 'visible_bboxes' in instances:
                    instances.visible_bboxes *= sample.scale_factor[0]
        return inputs, data_samples
