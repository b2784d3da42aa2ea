from .center_point_head import CenterPointHead
from .flat_retina_head import FlatRetinaHead
from .flat_ssd_head import FlatSSDHead
from .flat_yolov3_head import FlatYOLOV3Head
from .ranking_heads import (
    RankingATSSHead,
    RankingFCOSHead,
    RankingRetinaHead,
)
