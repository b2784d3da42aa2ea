"""The arguments of ``loss_by_feat``, as mmdet's heads take them."""

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """What ``loss_by_feat`` was called with.

    Attributes:
        outs: What ``forward`` returned, each a list of L maps.
        gts: Ground truths of B images.
        metas: Meta information of B images.
        ignored: Ignored regions of B images; None without any.
    """

    outs: tuple[list[Tensor], ...]
    gts: InstanceList
    metas: list[dict]
    ignored: Sequence[InstanceData | None] | None = None


class LossInputsMixin:
    """Gives a head the ``loss_by_feat`` of its parent in mmdet.

    Arguments come by position or by name: what ``forward`` returns,
    ``batch_gt_instances``, ``batch_img_metas`` and
    ``batch_gt_instances_ignore``, which defaults to None. Losses are computed
    outside autocast.

    Attributes:
        out_names: Names of what ``forward`` returns, those of mmdet.
    """

    out_names: Sequence[str] = ('cls_scores', 'bbox_preds')

    def loss_by_feat(self, *args: object, **kwargs: object) -> dict:
        """Losses of a batch, see :meth:`batch_losses`.

        Args:
            *args: See the class.
            **kwargs: See the class.

        Returns:
            dict: Loss name -> scalar.

        Raises:
            TypeError: An argument is missing, unknown or given twice.
            ValueError: A ground truth is of a class that the head lacks.
        """
        inputs = self.bind_inputs(*args, **kwargs)
        device = inputs.outs[0][0].device
        with torch.autocast(device.type, enabled=False):
            return self.batch_losses(inputs)

    def bind_inputs(self, *args: object, **kwargs: object) -> LossInputs:
        """The arguments of :meth:`loss_by_feat`, by their meaning.

        Raises:
            TypeError: An argument is missing, unknown or given twice.
        """
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [
            inspect.Parameter(name, kind)
            for name in (
                *self.out_names,
                'batch_gt_instances',
                'batch_img_metas',
            )
        ]
        ignored = inspect.Parameter(
            'batch_gt_instances_ignore', kind, default=None
        )
        bound = inspect.Signature([*parameters, ignored]).bind(*args, **kwargs)
        bound.apply_defaults()
        *outs, gts, metas, regions = bound.arguments.values()
        self._check_labels(gts)
        return LossInputs(tuple(outs), gts, metas, regions)

    def _check_labels(self, gts: InstanceList) -> None:
        """Refuse classes that the head doesn't have.

        Only on a CPU: elsewhere it would synchronize with the device.

        Raises:
            ValueError: A label is out of range.
        """
        classes = getattr(self, 'num_classes', None)
        for gt in gts:
            if classes is None or gt.labels.device.type != 'cpu':
                continue
            labels = gt.labels.numpy()
            wrong = labels[(labels < 0) | (labels >= classes)]
            if wrong.size:
                raise ValueError(
                    f'labels must be from 0 to {classes - 1}, got {wrong[0]}: '
                    f'{type(self).__name__} has num_classes={classes}'
                )

    @abstractmethod
    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch; a subclass writes it.

        Args:
            inputs: Of ``loss_by_feat``.

        Returns:
            dict: Loss name -> scalar.
        """
