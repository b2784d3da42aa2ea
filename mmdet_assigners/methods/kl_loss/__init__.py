from .coder import CornerDeltaBBoxCoder
from .loss import KLLoss
from .retina_head import KLRetinaHead
from .roi_heads import KLBBoxHead, KLRoIHead
