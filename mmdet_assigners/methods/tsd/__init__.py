from .bbox_head import TSDBBoxHead
from .roi_heads import TSDCascadeRoIHead, TSDRoIHead
