"""Heads of mmdet that train without boxes that they can't encode."""

from typing import Any

from mmdet.structures import SampleList

from .checks import masks_of
from .dense_heads.instances import drop_empty


class RealBoxesMixin:
    """Before a dense head or a RoI head whose loss takes data samples.

    Ground truths without area have no finite target; in a RoI head they are
    proposals, too, and encoded relative to themselves: 0 / 0.
    """

    def loss(self, *args: Any, **kwargs: Any) -> dict:
        """Losses of a batch, as the parent's.

        Args:
            *args: Of the parent; the last one is ``batch_data_samples``,
                unless it is given by name.
            **kwargs: Of the parent.

        Returns:
            dict: Loss name -> scalar.

        Raises:
            ValueError: A head of masks gets ground truths without them.
        """
        name = 'batch_data_samples'
        if name in kwargs:
            kwargs[name] = real_samples(kwargs[name])
        else:
            args = (*args[:-1], real_samples(args[-1]))
        if getattr(self, 'with_mask', False):
            for sample in kwargs.get(name, args[-1] if args else []):
                masks_of(sample.gt_instances, type(self).__name__)
        return super().loss(*args, **kwargs)  # type: ignore[misc]


def real_samples(samples: SampleList) -> SampleList:
    """Data samples without ground truths that have no area.

    Args:
        samples: B samples with ``gt_instances``; those that lack none are
            returned as they are.
    """
    gts = drop_empty([sample.gt_instances for sample in samples])
    found = []
    for sample, gt in zip(samples, gts, strict=True):
        if gt is not sample.gt_instances:
            sample = sample.new()
            sample.gt_instances = gt
        found.append(sample)
    return found
