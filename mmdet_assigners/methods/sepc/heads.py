"""mmdet's dense heads on the (cls, reg) features of SEPC.

Paper: Scale-Equalizing Pyramid Convolution for Object Detection, CVPR 2020,
arXiv 2005.03101. Nothing of the heads, their targets or their losses
changes; the convolutions of the neck replace their towers
(``stacked_convs=0``). Official code: the same with an own copy of each head.
All arguments are the parent's.
"""

from mmdet.models.dense_heads import (
    ATSSHead,
    FreeAnchorRetinaHead,
    FSAFHead,
    RetinaHead,
)
from mmdet.registry import MODELS

from ...models.checks import check_delta_loss
from ...models.real_boxes import RealBoxesMixin
from .pair_features import PairFeatureMixin


class SEPCHead(RealBoxesMixin, PairFeatureMixin):
    """Mixin before an ``AnchorHead``.

    Raises:
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        check_delta_loss(self)


@MODELS.register_module()
class SEPCRetinaHead(SEPCHead, RetinaHead):
    """RetinaNet head on (cls, reg) features, two [B, C, H, W] per level."""


@MODELS.register_module()
class SEPCFSAFHead(SEPCHead, FSAFHead):
    """FSAF head on (cls, reg) features, two [B, C, H, W] per level."""


@MODELS.register_module()
class SEPCFreeAnchorRetinaHead(SEPCHead, FreeAnchorRetinaHead):
    """FreeAnchor head on (cls, reg) features, two [B, C, H, W] per level."""


@MODELS.register_module()
class SEPCATSSHead(SEPCHead, ATSSHead):
    """ATSS head on (cls, reg) features, two [B, C, H, W] per level.

    The official release has no ATSS head; the paper only says that the
    method carries over. Centerness reads the regression feature, as in ATSS.
    """
