from .assigner import TopNIoUAssigner
from .head import NoisyAnchorRetinaHead
from .loss import SoftFocalLoss
