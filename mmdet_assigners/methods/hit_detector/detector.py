"""Faster R-CNN whose three parts are searched together."""

import math
from collections.abc import Mapping
from typing import Any

from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.config import ConfigDict
from torch import Tensor, nn

from .functional import column_penalty, expected_cost
from .genotype import PARTS, read_genotype
from .search_space import Searchable


class ArchConstraint(nn.Module):
    """What the loss of an architecture step adds to that of the detector.

    Costs are measured once, when the model is built.

    Args:
        parts: Name of a part -> the part.
        mu: Weight of the column penalty, of step 1; our default is 0.01.
        lam: Weight of the cost, of step 2; our default is 0.01.
        size: Height and width of the image whose cost counts.
        rois: RoIs of an image whose cost counts.
        unit: Multiply-adds that are a cost of 1.

    Raises:
        ValueError: A number out of range.
    """

    def __init__(
        self,
        parts: Mapping[str, Searchable],
        mu: float = 0.0,
        lam: float = 0.0,
        size: tuple[int, int] = (800, 1333),
        rois: int = 512,
        unit: float = 1e9,
    ) -> None:
        super().__init__()
        for name, value in dict(mu=mu, lam=lam).items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f'constraint.{name} must be at least 0, got {value}'
                )
        for name, value in dict(rois=rois, unit=unit, size=min(size)).items():
            if value <= 0:
                raise ValueError(
                    f'constraint.{name} must be positive, got {value}'
                )
        self.mu = mu
        self.lam = lam
        for name, part in parts.items() if lam else ():
            costs = part.costs(size, rois) / unit
            self.register_buffer(name, costs.float(), persistent=False)

    def forward(self, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses by name, those whose weight is not 0.

        Args:
            logits: Name of a part -> its logits (L, O).
        """
        losses = {}
        for name, alpha in logits.items():
            if self.mu:
                losses[f'loss_columns_{name}'] = self.mu * column_penalty(
                    alpha
                )
            if self.lam:
                cost = expected_cost(alpha, getattr(self, name))
                losses[f'loss_cost_{name}'] = self.lam * cost
        return losses


@MODELS.register_module()
class SearchFasterRCNN(FasterRCNN):
    """Faster R-CNN with searchable backbone, neck and box head.

    Paper: Hit-Detector, CVPR 2020, arXiv 2003.11818. The authors published no
    code of the search; this follows the equations.

    Args:
        backbone: Config of a ``SearchableBackbone``.
        neck: Config of a ``SearchableNeck``.
        roi_head: Config, with a ``SearchableBBoxHead``.
        constraint: Options of `ArchConstraint`.
        subspace: Genotype file of step 1, whose kept operations become the
            candidates; by default those of the configs of the parts.
        **kwargs: Further arguments of ``FasterRCNN``.

    Attributes:
        arch_step: Whether the loss is that of an architecture step. Set by
            the loop.

    Raises:
        TypeError: A part cannot be searched.
        ValueError: An option out of range, or no complete genotype file.
    """

    def __init__(
        self,
        backbone: ConfigDict,
        neck: ConfigDict,
        roi_head: ConfigDict,
        constraint: dict[str, Any] | None = None,
        subspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        if subspace:
            kept = {
                name: entry['kept']
                for name, entry in read_genotype(subspace).items()
                if name in PARTS
            }
            head = dict(roi_head['bbox_head'], candidates=kept['head'])
            backbone = ConfigDict(backbone, candidates=kept['backbone'])
            neck = ConfigDict(neck, candidates=kept['neck'])
            roi_head = ConfigDict(roi_head, bbox_head=head)
        super().__init__(
            backbone=backbone, neck=neck, roi_head=roi_head, **kwargs
        )
        for name, part in self.parts.items():
            if not isinstance(part, Searchable):
                raise TypeError(
                    f'the {name} of SearchFasterRCNN must be a Searchable'
                    f'{dict(head="BBoxHead").get(name, name.capitalize())}, '
                    f'got {type(part).__name__}'
                )
        self.constraint = ArchConstraint(self.parts, **(constraint or {}))
        self.arch_step = False

    @property
    def parts(self) -> dict[str, Any]:
        """Name of a part -> the part."""
        found = (self.backbone, self.neck, self.roi_head.bbox_head)
        return dict(zip(PARTS, found, strict=True))

    def genotype(self, keep: Mapping[str, int]) -> dict[str, Any]:
        """Content of a genotype file.

        Args:
            keep: Name of a part -> how many operations step 1 keeps.
        """
        return {
            name: part.describe(keep[name])
            for name, part in self.parts.items()
        }

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Any]:
        """Losses of the detector; in an architecture step, the constraint's.

        Args:
            batch_inputs: Images (B, 3, H, W).
            batch_data_samples: B samples.
        """
        losses = super().loss(batch_inputs, batch_data_samples)
        if self.arch_step:
            logits = {name: part.logits for name, part in self.parts.items()}
            losses |= self.constraint(logits)
        return losses
