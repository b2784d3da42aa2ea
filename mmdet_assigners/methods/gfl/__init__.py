from .head import GFLAblationHead
from .losses import GaussianDistanceLoss, GeneralizedFocalLoss
from .qfl_heads import QFLFoveaHead, QFLRetinaHead, QFLSSDHead
