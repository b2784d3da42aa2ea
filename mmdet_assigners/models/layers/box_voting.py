"""Variance voting as the NMS of any head that predicts sigmas."""

from collections.abc import Mapping
from dataclasses import fields

from mmengine.structures import InstanceData

from ...ops.var_voting import VotingOptions, var_voting

UNITS = ('auto', 'normalized', 'pixel')


class BoxVoting:
    """``test_cfg.nms=dict(type='var_voting', ...)`` of a head, read.

    Args:
        nms_cfg: ``type='var_voting'``; the attributes of ``VotingOptions``
            (``mode``, ``sigma_t``, ``iou_threshold``, ...); ``sigma_units``,
            'normalized' (units of the deltas, official), 'pixel' or 'auto'
            (default), which is normalized if the head gives that; and
            ``official_column_order``, True to weigh y1 by the sigma of x2 and
            x2 by that of y1, as the released test code does (default False).

    Raises:
        TypeError: A key isn't known.
        ValueError: A value is out of its range.
    """

    def __init__(self, nms_cfg: Mapping) -> None:
        options = {k: v for k, v in nms_cfg.items() if k != 'type'}
        self.units = options.pop('sigma_units', 'auto')
        self.swapped = options.pop('official_column_order', False)
        known = [field.name for field in fields(VotingOptions)]
        wrong = [key for key in options if key not in known]
        if wrong:
            raise TypeError(
                f'nms of type var_voting has no key {", ".join(wrong)}; it '
                f'has {", ".join(known)}, sigma_units and '
                'official_column_order'
            )
        if self.units not in UNITS:
            raise ValueError(
                f'sigma_units must be one of {", ".join(UNITS)}, got '
                f'{self.units!r}'
            )
        self.options = VotingOptions(**options)

    @classmethod
    def of(cls, nms_cfg: Mapping | None) -> 'BoxVoting | None':
        """Read ``test_cfg.nms``; None if it is another type of NMS."""
        if nms_cfg is None or nms_cfg.get('type') != 'var_voting':
            return None
        return cls(nms_cfg)

    def __call__(
        self, results: InstanceData, max_num: int, head: object
    ) -> InstanceData:
        """Pick and vote.

        Args:
            results: N candidates of an image: ``bboxes``, ``scores``,
                ``labels``, ``box_sigmas`` (N, 4) in pixels for x1, y1, x2, y2
                and, if the head has them, ``box_sigmas_normalized``.
            max_num: Detections kept, by score; -1: all.
            head: For the error text.

        Returns:
            InstanceData: Detections by score, highest first, with all fields
            of the picked candidates, their sigmas among them.

        Raises:
            ValueError: The candidates have no sigmas in these units.
        """
        name = 'box_sigmas'
        if self.units == 'normalized' or (
            self.units == 'auto' and 'box_sigmas_normalized' in results
        ):
            name = 'box_sigmas_normalized'
        if name not in results:
            raise ValueError(
                f'nms of type var_voting with sigma_units={self.units!r} '
                f'needs {name}, which {type(head).__name__} does not predict'
            )
        sigmas = results[name]
        if self.swapped:
            sigmas = sigmas[:, [0, 2, 1, 3]]
        votes = var_voting(
            results.bboxes,
            results.scores,
            sigmas,
            results.labels,
            self.options,
        )
        order = votes.scores.argsort(descending=True, stable=True)
        if max_num > 0:
            order = order[:max_num]
        results = results[votes.index[order]]
        results.bboxes = votes.boxes[order]
        results.scores = votes.scores[order]
        return results
