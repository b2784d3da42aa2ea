from .head import GFLAblationHead
from .losses import GeneralizedFocalLoss, GaussianDistanceLoss
from .qfl_heads import QFLRetinaHead, QFLSSDHead, QFLFoveaHead
